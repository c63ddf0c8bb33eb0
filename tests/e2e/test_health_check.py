"""The health check of the image."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.server import Server

_DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"


def _status(address: str) -> int:
    """Return the exit status of the health check, in an environment with a proxy."""
    text = _DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", "")
    match = re.search(r"^HEALTHCHECK .*?CMD (.*)$", text, re.MULTILINE)
    assert match is not None
    program, *arguments = json.loads(match[1])
    assert program == "python"
    environment = {**os.environ, "SERVER_ADDRESS": address, "http_proxy": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, timeout=30, check=False
    )  # fmt: skip
    return done.returncode


def test_health_check(own_server: Server) -> None:
    """It succeeds while the service responds on the port of SERVER_ADDRESS, and fails otherwise."""
    assert _status(f"0.0.0.0:{own_server.port}") == 0
    own_server.end()
    assert _status(f"0.0.0.0:{own_server.port}") != 0
