"""A log that nobody takes: the server answers as ever, stops as ever, and says later what was lost."""

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
    """Start a server again, with its standard error elsewhere."""
    assert server.end() == 0
    server.around = ["sh", "-c", f'exec "$0" "$@" {redirection}']
    server.start()


def _assert_answers(server: Server) -> None:
    began = monotonic()
    assert all(server.answers() for _ in range(_REQUESTS))
    assert monotonic() - began < _REQUESTS / 5
    assert server.people.sign_up_user().get("/user/profile").status_code == 200


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_lines_that_nobody_takes(own_server: Server, redirection: str) -> None:
    """A disk without space, and a standard error that is closed, harm no request."""
    _start(own_server, redirection)
    _assert_answers(own_server)
    assert own_server.end() == 0


@pytest.fixture
def full_pipe(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A named pipe without room, and where to read from it."""
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


def test_reader_that_stands_still(own_server: Server, full_pipe: tuple[Path, int]) -> None:
    """Nor does a pipe that nobody reads; when somebody does, the next line of each worker says how many were lost."""
    path, descriptor = full_pipe
    _start(own_server, f"2>{path}")
    _assert_answers(own_server)
    assert os.read(descriptor, 2**21).strip() == b""
    told = b""

    def all_are_told_of() -> bool:
        nonlocal told
        assert own_server.answers()
        with suppress(BlockingIOError):
            told += os.read(descriptor, 2**21)
        return sum(json.loads(line).get("lost", 0) for line in told.splitlines()) >= _REQUESTS

    assert wait_until(all_are_told_of, 10)
    assert b'"level":"warning","event":"log_lines_lost"' in told
    assert own_server.end() == 0
