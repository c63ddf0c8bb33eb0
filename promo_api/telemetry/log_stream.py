"""Writes log lines without blocking requests. Lost lines are counted in `log_lines_lost`.

| Destination | If it takes no data |
|---|---|
| pipe, socket, terminal | wait 50 ms once, then drop lines |
| full disk, pipe without a reader | drop the line |
| disk that hangs | the writing thread blocks |

Not a writer thread: a killed process would lose its queue.
"""

import fcntl
import logging
import os
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

# One second of a busy worker.
_PIPE_BYTES = 1024 * 1024
_WAIT_MS = 50
# Writes up to this size are atomic.
_CHUNK_BYTES = select.PIPE_BUF


class LogStream(logging.Handler):
    """Writes whole lines, so that lines of several processes do not mix."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        self._lost = 0
        self._line_is_cut = False
        self._is_buffering = False
        self._buffer: list[bytes] = []
        with suppress(AttributeError, OSError):  # not Linux or not a pipe, or the user's limit is reached
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @contextmanager
    def buffered(self) -> Iterator[None]:
        """Write the lines of a block together. Other threads wait."""
        with self.lock:  # type: ignore[union-attr]
            self._is_buffering = True
            try:
                yield
            finally:
                self._is_buffering = False
                self._flush_buffer()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it as lost."""
        try:
            self._buffer.append(self._line(record))
        except Exception:  # noqa: BLE001 no error of a log line may fail its request
            self._lost += 1
        if not self._is_buffering:
            self._flush_buffer()

    def _line(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode() + b"\n"

    def _flush_buffer(self) -> None:
        lines, self._buffer = self._buffer, []
        for chunk in _chunks(lines):
            try:
                self._write_chunk(b"".join(chunk))
            except Exception:  # noqa: BLE001 no error of a log line may fail its request
                self._lost += len(chunk)

    def _write_chunk(self, lines: bytes) -> None:
        if not self._writable.poll(0 if self._lost else _WAIT_MS):
            raise BlockingIOError
        if self._lost:
            self._write(self._line(_lines_lost(self._lost)))
            self._lost = 0
        self._write(lines)

    def _write(self, lines: bytes) -> None:
        data = b"\n" + lines if self._line_is_cut else lines
        self._line_is_cut = os.write(self._descriptor, data) < len(data)
        if self._line_is_cut:
            raise BlockingIOError


def _chunks(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    for line in lines:
        if chunk and sum(map(len, chunk)) + len(line) > _CHUNK_BYTES:
            yield chunk
            chunk = []
        chunk.append(line)
    if chunk:
        yield chunk


def _lines_lost(count: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": "log_lines_lost", "lost": count}
    )
