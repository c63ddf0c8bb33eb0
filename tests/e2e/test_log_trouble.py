"""A log that cannot be written: the server works and stops normally, and reports lost lines later."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from promo_api.dev.processes import wait_until
from tests.e2e.server import Server

_REQUESTS = 50


def _start(server: Server, redirection: str) -> None:
    """Restart a server with stderr redirected."""
    assert server.end() == 0
    server.around = ["sh", "-c", f'exec "$0" "$@" {redirection}']
    server.start()


def _assert_answers(server: Server) -> None:
    began = monotonic()
    assert all(server.responds() for _ in range(_REQUESTS))
    assert monotonic() - began < _REQUESTS / 5
    assert server.accounts.sign_up_user().get("/user/profile").status_code == 200


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_unwritable_log(own_server: Server, redirection: str) -> None:
    """A full disk or a closed stderr does not affect requests."""
    _start(own_server, redirection)
    _assert_answers(own_server)
    assert own_server.end() == 0


@pytest.fixture
def full_pipe(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """The path of a full named pipe, and a file descriptor to read from it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 2**20)
    with suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"\n" * 4096)
    yield path, descriptor
    os.close(descriptor)


def test_blocked_log_pipe(own_server: Server, full_pipe: tuple[Path, int]) -> None:
    """A full pipe does not affect requests. Once it is read, each worker logs the number of lost lines."""
    path, descriptor = full_pipe
    _start(own_server, f"2>{path}")
    _assert_answers(own_server)
    assert os.read(descriptor, 2**21).strip() == b""
    log = b""

    def all_are_reported() -> bool:
        nonlocal log
        assert own_server.responds()
        with suppress(BlockingIOError):
            log += os.read(descriptor, 2**21)
        return sum(json.loads(line).get("lost", 0) for line in log.splitlines()) >= _REQUESTS

    assert wait_until(all_are_reported, 10)
    assert b'"level":"warning","event":"log_lines_lost"' in log
    assert own_server.end() == 0
