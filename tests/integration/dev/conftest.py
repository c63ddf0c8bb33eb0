"""Folders and processes for the tests of promo_api.dev."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]


def _without_servers() -> dict[str, str]:
    """Return the environment without the settings that name servers: these tests start their own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("POSTGRES_", "REDIS_"))}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return an empty folder; check at the end that no process was left running on it.

    Not tmp_path: as root, PostgreSQL's user cannot enter it, and its name may be too long for a socket.
    """
    path = Path(tempfile.mkdtemp(prefix="promo-")).resolve()
    yield path
    leftovers = running_on(path)
    for process in leftovers:
        with suppress(psutil.Error):
            process.kill()
    shutil.rmtree(path)
    assert not leftovers


def running_on(path: Path) -> list[psutil.Process]:
    """Return the processes with `path` in their arguments."""
    running = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(str(path) in part for part in process.cmdline()):
                running.append(process)
    return running


@pytest.fixture
def find_running() -> Callable[[Path], list[psutil.Process]]:
    """Return the function running_on."""
    return running_on


@pytest.fixture
def start_python(folder: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:  # noqa: ARG001 removed after the processes have ended
    """Return a function that runs Python code in a new process, with arguments and environment variables."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object, **variables: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=_without_servers() | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        with suppress(ValueError):
            process.communicate(timeout=60)


@pytest.fixture
def killed_owner(start_python: Callable[..., "subprocess.Popen[str]"]) -> Callable[[str, Path], None]:
    """Return a function that starts an embedded server in a new process, and then kills that process."""

    def run(server: str, path: Path) -> None:
        module, _, name = server.partition(":")
        code = (
            f"import sys; from pathlib import Path; from {module} import {name}\n"
            f"{name}(Path(sys.argv[1])).start(); print('started'); sys.stdin.read()"
        )
        owner = start_python(code, path)
        assert owner.stdout is not None
        assert owner.stdout.readline() == "started\n"
        owner.kill()
        owner.communicate()

    return run
