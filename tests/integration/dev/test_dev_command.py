"""The command `dev`, with a fake of the service."""

import json
import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from promo_api.dev.ports import free_port, listen

FAKE_SERVICE = Path(__file__).with_name("fake_service.py")
READY = "Press Ctrl-C to stop"
CODE = """
import os, sys
from pathlib import Path
from promo_api.dev.run import run_dev
sys.exit(run_dev(os.environ, Path(sys.argv[1]), (sys.executable, sys.argv[2])))
"""
StartPython = Callable[..., "subprocess.Popen[str]"]
StartDev = Callable[..., "Dev"]
FindRunning = Callable[[Path], list[object]]


class Dev:
    """A `dev` in another process."""

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self.process = process
        self.address = address

    def read_until_ready(self) -> str:
        """Return its output up to the line that says it is ready, or all of it if it ends before."""
        assert self.process.stdout is not None
        printed = ""
        for line in self.process.stdout:
            printed += line
            if line.startswith(READY):
                return printed
        return printed

    def ask(self) -> Any:
        """Return the response of the fake service."""
        with urlopen(f"http://{self.address}/api/ping", timeout=10) as response:
            return json.load(response)

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return the exit status and the remaining output and errors."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def start_dev(start_python: StartPython, folder: Path) -> StartDev:
    """Return a function that starts `dev` on the folder, by default on a free port."""

    def start(**variables: str) -> Dev:
        address = variables.setdefault("SERVER_ADDRESS", f"127.0.0.1:{free_port('127.0.0.1')}")
        return Dev(start_python(CODE, folder / ".promo", FAKE_SERVICE, **variables), address)

    return start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_start_and_stop(start_dev: StartDev, folder: Path, find_running: FindRunning, number: signal.Signals) -> None:
    """It prints what runs where. A stop signal stops everything in order, also if it arrives twice."""
    dev = start_dev()
    printed = dev.read_until_ready()
    for part in ("PostgreSQL: started (", "Valkey: started (", f"http://{dev.address}/api/docs", "curl http://"):
        assert part in printed
    environment = dev.ask()["environment"]
    assert environment["POSTGRES_DATABASE"] == "promo"
    assert environment["LOG_FORMAT"] == "dev"
    assert f"http://{environment['ANTIFRAUD_ADDRESS']}" in printed
    os.killpg(dev.process.pid, number)  # to the process group, as a terminal does
    os.killpg(dev.process.pid, number)
    status, out, err = dev.end()
    assert (status, err) == (0, "")
    assert out.endswith("\nStopping ... stopped.\n")
    assert find_running(folder) == []


def test_restart_after_sigkill(start_dev: StartDev, folder: Path) -> None:
    """After a SIGKILL the next `dev` starts on the same port, with the same data."""
    first = start_dev()
    first.read_until_ready()
    key = first.ask()["environment"]["SECRET_KEY"]
    first.process.kill()
    first.process.wait()
    second = start_dev(SERVER_ADDRESS=first.address)
    assert "Stopping the service of the previous run" in second.read_until_ready()
    response = second.ask()
    assert response["starts"] == 2
    assert response["environment"]["SECRET_KEY"] == key
    assert stat.S_IMODE((folder / ".promo" / "secret_key").stat().st_mode) == 0o600
    second.process.send_signal(signal.SIGINT)
    assert second.end()[0] == 0


def test_folder_in_use(start_dev: StartDev) -> None:
    """A second `dev` on a folder names the process of the first, and does not disturb it."""
    first = start_dev()
    first.read_until_ready()
    status, out, err = start_dev().end()
    assert (status, out) == (1, "")
    assert f"Another dev (process {first.process.pid}) uses the folder" in err
    assert err.count("\n") == 1
    assert first.ask()["starts"] == 1


def test_port_in_use(start_dev: StartDev, folder: Path) -> None:
    """A port in use is reported with a solution, before any server starts."""
    with listen("127.0.0.1", None) as listener:
        port = listener.getsockname()[1]
        status, out, err = start_dev(SERVER_ADDRESS=f"127.0.0.1:{port}").end()
    assert (status, out) == (1, "")
    assert err.startswith(f"Port {port} of 127.0.0.1 is in use by another program")
    assert "SERVER_ADDRESS=" in err
    assert err.count("\n") == 1
    assert not (folder / ".promo" / "postgres").exists()


def test_invalid_settings(start_dev: StartDev, folder: Path) -> None:
    """All invalid settings are reported together, before the folder is created."""
    status, out, err = start_dev(SERVER_ADDRESS="here", REDIS_PORT="x", SECRET_KEY="short").end()
    assert (status, out) == (2, "")
    assert all(name in err for name in ("SERVER_ADDRESS", "REDIS_PORT", "SECRET_KEY"))
    assert "Traceback" not in err
    assert not (folder / ".promo").exists()


@pytest.mark.parametrize("command", ["migrate", "serve"])
def test_service_command_fails(start_dev: StartDev, command: str) -> None:
    """If a command of the service fails, everything is stopped, and its status is returned."""
    dev = start_dev(EXIT=f"{command}:7")
    assert "Stopped." in dev.read_until_ready()
    status, _, err = dev.end()
    assert status == 7
    assert "status 7." in err


def test_redis_url_is_used(start_dev: StartDev) -> None:
    """With REDIS_URL no Valkey is started, and the URL with its password is not printed."""
    printed = start_dev(REDIS_URL="redis+sentinel://:hunter2@sentinel.example/verdicts").read_until_ready()
    assert "Valkey: not started, REDIS_URL is set." in printed
    assert "hunter2" not in printed


def test_external_servers_are_used(start_dev: StartDev, folder: Path) -> None:
    """Servers that the environment names are used instead of embedded ones. An empty value counts as missing."""
    key = "k" * 40
    dev = start_dev(
        REDIS_HOST="redis.example", ANTIFRAUD_ADDRESS="http://fraud.example", SECRET_KEY=key, POSTGRES_HOST=""
    )
    printed = dev.read_until_ready()
    assert "Valkey: not started, REDIS_HOST is set." in printed
    environment = dev.ask()["environment"]
    assert environment["REDIS_HOST"] == "redis.example"
    assert environment["ANTIFRAUD_ADDRESS"] == "http://fraud.example"
    assert environment["SECRET_KEY"] == key
    assert not (folder / ".promo" / "valkey").exists()
    assert not (folder / ".promo" / "secret_key").exists()


def test_no_antifraud_service(start_dev: StartDev) -> None:
    """With ANTIFRAUD_ADDRESS=none no stub is started."""
    printed = start_dev(ANTIFRAUD_ADDRESS="none").read_until_ready()
    assert "Anti-fraud stub: not started, ANTIFRAUD_ADDRESS is set." in printed
    assert "  Anti-fraud service   none\n" in printed


def test_unusable_folder(start_dev: StartDev, folder: Path) -> None:
    """A file in place of the folder gives a single line of error."""
    (folder / ".promo").write_text("")
    status, out, err = start_dev().end()
    assert (status, out) == (1, "")
    assert err.startswith("The folder ")
    assert err.count("\n") == 1


def test_server_fails_to_start(start_dev: StartDev, folder: Path, find_running: FindRunning) -> None:
    """A server that fails to start gives a single line of error, and the servers before it are stopped."""
    (folder / ".promo" / "valkey").mkdir(parents=True)
    (folder / ".promo" / "valkey" / "appendonlydir").write_text("not a folder")
    dev = start_dev()
    dev.read_until_ready()
    status, _, err = dev.end()
    assert status == 1
    assert err.startswith("Valkey did not start")
    assert err.count("\n") == 1
    assert find_running(folder) == []
