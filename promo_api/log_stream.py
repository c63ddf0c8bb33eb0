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
from contextlib import suppress

# A burst of lines fits in: a second of a busy worker's, where 64 KiB, the default, are a twentieth of that.
_PIPE_BYTES = 1024 * 1024
_PATIENCE_MS = 50


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
        with suppress(AttributeError, OSError):  # no Linux, no pipe, or no more memory for this user's pipes
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record, or count it as lost."""
        try:
            if not self._room.poll(0 if self._lost else _PATIENCE_MS):
                raise BlockingIOError  # noqa: TRY301 as a write to a descriptor that doesn't block
            if self._lost:
                self._write(_lines_lost(self._lost))
                self._lost = 0
            self._write(record)
        except Exception:  # noqa: BLE001 whatever is wrong with a line, its request goes on
            self._lost += 1

    def _write(self, record: logging.LogRecord) -> None:
        # With room for it in a pipe, what is at most PIPE_BUF bytes is written at once and in one piece.
        line = b"\n" * self._torn + self.format(record).encode() + b"\n"
        written = os.write(self._descriptor, line)
        self._torn = written < len(line)
        if self._torn:
            raise BlockingIOError


def _lines_lost(number: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": "log_lines_lost", "lost": number}
    )
