"""The command `dev` on a terminal: each request with its path, and one line at Ctrl-C."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import requests

from promo_api.config.settings import known_names
from promo_api.dev.ports import free_port
from tests.accounts import Api
from tests.e2e.raw import send_raw
from tests.e2e.remote import Remote
from tests.e2e.terminal import Terminal

_ROOT = Path(__file__).parents[2]
_COMMAND = (sys.executable, "-m", "promo_api", "dev")
_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIzNmE3In0.682X-Dn2j"


@pytest.fixture
def address() -> str:
    """A free address for the API."""
    return f"127.0.0.1:{free_port('127.0.0.1')}"


@pytest.fixture
def terminal(address: str) -> Iterator[Terminal]:
    """`dev` on a terminal, in an empty folder."""
    around = {name: value for name, value in os.environ.items() if name not in known_names()}
    environment = around | {"PYTHONPATH": str(_ROOT), "SERVER_ADDRESS": address, "TERM": "xterm"}
    # Not tmp_path, which the user of PostgreSQL may be unable to enter.
    with TemporaryDirectory(prefix="promo-dev-") as folder, Terminal(_COMMAND, environment, Path(folder)) as terminal:
        terminal.read_until("Press Ctrl-C to stop.")
        yield terminal


def test_log_on_a_terminal(terminal: Terminal, address: str) -> None:
    """Requests are shown with path and coloured status, without secrets. Ctrl-C ends everything with one line."""
    remote = Remote(f"http://{address}")
    user = Api(remote).sign_up_user()  # type: ignore[arg-type]
    assert user.get("/user/feed?category=coffee").status_code == 200
    assert requests.get(f"http://{address}/api/x?token={_JWT}", timeout=10).status_code == 404
    assert send_raw(f"http://{address}", b"GET / HTTP/9.9\r\n\r\n").status == 400
    # Workers write in any order.
    for text in ("sign-up", "category=coffee", "SECRET", "unreadable"):
        output = terminal.read_until(text)
    time = r"^\d\d:\d\d:\d\d "
    for line in (
        r"POST /api/user/auth/sign-up \x1b\[32m200\x1b\[0m [\d.]+ ms\r$",
        r"GET /api/user/feed\?category=coffee \x1b\[32m200\x1b\[0m [\d.]+ ms\r$",
        r"GET /api/x\?token=SECRET \x1b\[33m404\x1b\[0m [\d.]+ ms\r$",
    ):
        assert re.search(time + line, output, re.MULTILINE), output
    assert not any(secret in output for secret in remote.secrets)
    terminal.send_keys("\x03")
    assert terminal.wait() == 0
    assert terminal.output.endswith("^C\r\nStopping ... stopped.\r\n")
    for chatter in ("gunicorn", "uvicorn", "drain_started"):
        assert chatter not in terminal.output
