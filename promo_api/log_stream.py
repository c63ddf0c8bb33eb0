"""Where log lines go: a descriptor that somebody else reads, or does not read.

A request does not fail for its line, and hardly waits for it. What can't be written is lost, and counted; the first
line that can be written again is `log_lines_lost`, and says how many were lost.

| Where the lines go | When nobody takes them |
|---|---|
| a pipe, a socket or a terminal | a process waits 50 ms for room, once; until there is room it waits no more |
| a file on a full disk, a pipe whose reader has ended | the write fails at once |
| a file on a disk that hangs | whoever writes waits as long as the disk: the kernel knows no other way |

Rejected: a thread that writes. It would have to be started anew after each fork, and what it holds would be lost when a
process is killed, which is when it is wanted most.
"""

import fcntl
import logging
import os
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

# A burst of lines fits in: a second of a busy worker's, where 64 KiB, the default, are a twentieth of that.
_PIPE_BYTES = 1024 * 1024
_PATIENCE_MS = 50
# With room for it in a pipe, what is no longer is written at once and in one piece.
_PIECE_BYTES = select.PIPE_BUF


class LogStream(logging.Handler):
    """Writes lines to a descriptor, each as a whole: those of several processes do not mix.

    Args:
        descriptor: where to write; other processes may write there too.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._lost = 0
        self._torn = False
        self._gathers = False
        self._gathered: list[bytes] = []
        with suppress(AttributeError, OSError):  # no Linux, no pipe, or no more memory for this user's pipes
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write the lines of a block at its end, as many at once as may be; what other threads have to say waits.

        Each write costs more than a line: it gives up Python's lock, and other threads take it.
        """
        with self.lock:  # type: ignore[union-attr]
            self._gathers = True
            try:
                yield
            finally:
                self._gathers = False
                self._write_gathered()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record, or count it as lost."""
        try:
            self._gathered.append(self._line(record))
        except Exception:  # noqa: BLE001 whatever is wrong with a line, its request goes on
            self._lost += 1
        if not self._gathers:
            self._write_gathered()

    def _line(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode() + b"\n"

    def _write_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        for lines in _pieces(gathered):
            try:
                self._write_after_lost(b"".join(lines))
            except Exception:  # noqa: BLE001 nor does it end for them all
                self._lost += len(lines)

    def _write_after_lost(self, lines: bytes) -> None:
        if not self._room.poll(0 if self._lost else _PATIENCE_MS):
            raise BlockingIOError  # as a write to a descriptor that doesn't block
        if self._lost:
            self._write(self._line(_lines_lost(self._lost)))
            self._lost = 0
        self._write(lines)

    def _write(self, lines: bytes) -> None:
        whole = b"\n" * self._torn + lines
        self._torn = os.write(self._descriptor, whole) < len(whole)
        if self._torn:
            raise BlockingIOError


def _pieces(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines in their order, as many at a time as can be written in one piece; each is one at least."""
    piece: list[bytes] = []
    for line in lines:
        if piece and sum(map(len, piece)) + len(line) > _PIECE_BYTES:
            yield piece
            piece = []
        piece.append(line)
    if piece:
        yield piece


def _lines_lost(number: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": "log_lines_lost", "lost": number}
    )
