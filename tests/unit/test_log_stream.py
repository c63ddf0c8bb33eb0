"""The log stream: no request fails or waits because of the reader of the log."""

import fcntl
import json
import logging
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

import pytest

from promo_api.telemetry import log_stream
from promo_api.telemetry.log_stream import LogStream
from promo_api.telemetry.logs import JsonLines

Pipe = tuple[int, int]


def _stream(descriptor: int) -> LogStream:
    stream = LogStream(descriptor)
    stream.setFormatter(JsonLines())
    return stream


def _log_number(stream: LogStream, number: int) -> None:
    fields = {"name": "promo_api.x", "levelname": "INFO", "msg": "logged", "number": number}
    stream.handle(logging.makeLogRecord(fields))


def _numbers(text: bytes) -> list[Any]:
    """Return the numbers of the lines. A pair is the event for lost lines and their count."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [line["number"] if line["event"] == "logged" else (line["event"], line["lost"]) for line in lines]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe: the read end and the write end."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def _fill(descriptor: int) -> None:
    """Fill a pipe."""
    os.set_blocking(descriptor, False)
    with suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"\n" * 4096)
    os.set_blocking(descriptor, True)


def test_lines(pipe: Pipe) -> None:
    """Each record is a line."""
    stream = _stream(pipe[1])
    for number in range(3):
        _log_number(stream, number)
    assert _numbers(os.read(pipe[0], 65536)) == [0, 1, 2]


def test_full_pipe(pipe: Pipe) -> None:
    """When the pipe is full, the first line waits a moment, the others do not, and the lost lines are counted."""
    stream = _stream(pipe[1])
    _fill(pipe[1])
    began = monotonic()
    for number in range(1000):
        _log_number(stream, number)
    assert monotonic() - began < 5
    assert os.read(pipe[0], 2**20).strip() == b""
    for number in (1000, 1001):
        _log_number(stream, number)
    assert _numbers(os.read(pipe[0], 65536)) == [("log_lines_lost", 1000), 1000, 1001]


def test_closed_reader() -> None:
    """If the reader has exited, lines are lost and nothing fails."""
    reader, writer = socket.socketpair()
    with reader, writer:
        stream = _stream(writer.fileno())
        # Not a pipe: a child process may have a copy of its read end, which would still be a reader.
        reader.shutdown(socket.SHUT_RDWR)
        _log_number(stream, 0)
        assert stream._lost == 1


def test_room_for_a_burst(pipe: Pipe) -> None:
    """A pipe is enlarged to 1 MiB, which a busy worker fills in a second."""
    limit = int(Path("/proc/sys/fs/pipe-max-size").read_text(encoding="utf-8"))
    assert fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ) < 2**20 <= limit
    LogStream(pipe[1])
    assert fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ) == 2**20


def test_closed_descriptor(pipe: Pipe) -> None:
    """A line for a closed descriptor is lost and counted."""
    stream = _stream(pipe[1])
    os.close(pipe[1])
    _log_number(stream, 0)
    assert stream._lost == 1


def test_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Lines that do not fit are lost; once there is space, the next line does not continue the truncated one."""
    with (tmp_path / "log").open("wb") as file:
        stream = _stream(file.fileno())
        write, room = os.write, 150

        def write_as_far_as_it_goes(descriptor: int, text: bytes) -> int:
            nonlocal room
            if not room:
                raise OSError(28, "No space left on device")
            written = write(descriptor, text[:room])
            room -= written
            return written

        monkeypatch.setattr(os, "write", write_as_far_as_it_goes)
        for number in range(4):
            _log_number(stream, number)
        room = 10_000
        _log_number(stream, 4)
    whole, cut, *rest = (tmp_path / "log").read_bytes().splitlines()
    assert _numbers(whole) == [0]
    assert not cut.endswith(b"}")
    assert _numbers(b"\n".join(rest)) == [("log_lines_lost", 3), 4]


def test_full_device() -> None:
    """Lines for a full device are lost and counted."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        stream = _stream(full.fileno())
        for number in range(3):
            _log_number(stream, number)
    assert stream._lost == 3


def test_unserializable_record(pipe: Pipe) -> None:
    """A record that cannot be serialized is lost and counted, and raises nothing."""
    stream = _stream(pipe[1])
    stream.handle(logging.makeLogRecord({"name": "promo_api.x", "msg": "logged", "number": "\ud800"}))
    _log_number(stream, 1)
    assert _numbers(os.read(pipe[0], 65536)) == [("log_lines_lost", 1), 1]


_CLOSED = """
import logging, os, sys
os.close(2)
sys.stderr = None  # as Python does if it is closed at the start
from promo_api.telemetry.logs import set_up_logging
from promo_api.config.values import LogFormat
set_up_logging(LogFormat.JSON)
logging.getLogger("promo_api").warning("something")
with open(sys.argv[1], "wb") as other:
    print(other.fileno())
    logging.getLogger("promo_api").warning("something")
"""


def test_closed_standard_error(tmp_path: Path) -> None:
    """Without standard error lines go nowhere, not even to another file with its descriptor."""
    command = [sys.executable, "-c", _CLOSED, str(tmp_path / "other")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, f"{int(done.stdout)}\n")
    assert int(done.stdout) > 2
    assert (tmp_path / "other").read_bytes() == b""


_MANY = """
import logging, sys
from promo_api.telemetry.logs import set_up_logging
from promo_api.config.values import LogFormat
set_up_logging(LogFormat.JSON)
for number in range(2000):
    logging.getLogger("promo_api").warning("logged", extra={"number": number, "reason": "x" * (number % 3000)})
"""


def test_lines_of_several_processes_do_not_mix() -> None:
    """Processes that write to one pipe as fast as possible keep every line whole."""
    reader, writer = os.pipe()
    writers = [subprocess.Popen([sys.executable, "-c", _MANY], stderr=writer) for _ in range(2)]
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        lines = [json.loads(line) for line in pipe.read().splitlines()]
    assert [each.wait(30) for each in writers] == [0, 0]
    for each in writers:
        numbers = [line["number"] for line in lines if line["process"] == each.pid and line["event"] == "logged"]
        assert numbers == sorted(numbers)
        assert len(numbers) > 100


def test_buffered_lines(pipe: Pipe) -> None:
    """Buffered lines are written at the end, in order, in few pieces that a pipe writes atomically."""
    read, write = pipe
    stream = _stream(write)
    with stream.buffered():
        for number in range(100):
            _log_number(stream, number)
        os.set_blocking(read, False)
        with pytest.raises(BlockingIOError):
            os.read(read, 1)
    written = os.read(read, 1024 * 1024)
    assert _numbers(written) == [*range(100)]
    lengths = [len(line) + 1 for line in written.splitlines()]
    pieces = [b"".join(piece) for piece in log_stream._chunks([b"x" * length for length in lengths])]
    assert max(map(len, pieces)) <= select.PIPE_BUF < max(len(a) + len(b) for a, b in pairwise(pieces))


def test_lost_buffered_lines(pipe: Pipe) -> None:
    """Buffered lines that cannot be written are counted, and reported once there is room."""
    read, write = pipe
    stream = _stream(write)
    _fill(write)
    with stream.buffered():
        for number in range(100):
            _log_number(stream, number)
    os.read(read, 1024 * 1024)
    _log_number(stream, 100)
    assert _numbers(os.read(read, 1024 * 1024)) == [("log_lines_lost", 100), 100]


def test_other_threads_wait_for_buffered_lines(pipe: Pipe) -> None:
    """A line of another thread is written after the buffered lines, and is not lost."""
    read, write = pipe
    stream = _stream(write)
    other = Thread(target=_log_number, args=(stream, 3))
    with stream.buffered():
        _log_number(stream, 1)
        other.start()
        _log_number(stream, 2)
    other.join()
    assert _numbers(os.read(read, 1024 * 1024)) == [1, 2, 3]
