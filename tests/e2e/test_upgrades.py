"""Clients that ask to upgrade to HTTP/2 by default: the server responds with HTTP/1.1, also to requests with a body."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.server import Server

pytestmark = pytest.mark.usefixtures("unharmed")

_BODY = '{"text": "0123456789"}'
_TIMEOUT_S = 120


def _run(*command: str) -> list[str]:
    """Run a program, and return its lines; skip the test if it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed.")
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.mark.parametrize("chunked", [False, True])
def test_curl(server: Server, comments: bytes, chunked: bool) -> None:
    """The option --http2 of curl sends Upgrade; both requests with a body succeed, on one connection."""
    token = server.accounts.sign_up_user().token
    post = [
        *("--http2", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_version} %{num_connects}\\n"),
        *("-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json", "-d", _BODY),
        *(["-H", "Transfer-Encoding: chunked"] if chunked else []),
        server.url + comments.decode(),
    ]
    assert _run("curl", *post, "--next", *post) == ["201 1.1 1", "201 1.1 0"]


def test_java(server: Server, comments: bytes) -> None:
    """Java's HttpClient sends Upgrade by default, with a body of known length and with chunks."""
    token = server.accounts.sign_up_user().token
    program = Path(__file__).with_name("UpgradingClient.java")
    lines = _run("java", str(program), server.url + comments.decode(), token, _BODY)
    assert [line.split()[:2] for line in lines] == [["201", "HTTP_1_1"]] * 4
    assert {json.loads(line.split(maxsplit=2)[2])["text"] for line in lines} == {"0123456789"}
