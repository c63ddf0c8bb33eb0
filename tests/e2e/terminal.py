"""A command on a pseudo-terminal: an interactive shell, into which tests paste text, or `make`."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

# Interactive shells without the user's configuration.
SHELLS = {"bash": ("bash", "--norc", "--noprofile", "-i"), "zsh": ("zsh", "-f", "-i")}
_TIMEOUT_S = 60
_ROWS, _COLUMNS = 50, 200
# Makes the terminal the controlling terminal of the new session, so that Ctrl-C is a signal.
_WITH_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A command, and its output so far."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> None:
        self.output = ""
        self._descriptor, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WITH_TERMINAL, *command], env=dict(environment), cwd=folder, stdin=slave,
            stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def send_keys(self, text: str) -> None:
        """Send keys."""
        data = text.encode()
        while data:
            # The terminal takes only a few KiB until the command has read them.
            readable, _, _ = select.select([self._descriptor], [self._descriptor], [])
            if readable:
                self._read(_TIMEOUT_S)
            else:
                data = data[os.write(self._descriptor, data[:256]) :]

    def paste(self, text: str, *, bracketed: bool) -> None:
        """Paste text and press Enter. Most terminals put a pasted text into brackets, so that it runs as a whole."""
        self.send_keys(f"\033[200~{text}\033[201~\r" if bracketed else text)

    def read_until(self, text: str) -> str:
        """Return the output up to a text."""
        deadline_s = time.monotonic() + _TIMEOUT_S
        while text not in self.output:
            assert self._read(deadline_s - time.monotonic()), f"{text} is not in the output:\n{self.output}"
        return self.output

    def wait(self) -> int:
        """Return the exit status of the command, negative for a signal."""
        while self._read(_TIMEOUT_S):
            pass
        return self.process.wait(_TIMEOUT_S)

    def _read(self, timeout_s: float) -> bool:
        """Add the next output; return False at its end, or on timeout."""
        readable, _, _ = select.select([self._descriptor], [], [], max(0.0, timeout_s))
        try:
            data = os.read(self._descriptor, 65536) if readable else b""
        except OSError:  # the command has ended
            return False
        self.output += data.decode(errors="replace")
        return bool(data)

    def __enter__(self) -> Self:
        """Return the terminal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the terminal, which ends the command."""
        os.close(self._descriptor)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_TIMEOUT_S)
        self.process.kill()
        self.process.wait()
