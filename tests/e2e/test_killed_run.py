"""A test run that is killed leaves no server behind."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from promo_api.dev.processes import wait_gone, wait_until

_ROOT = Path(__file__).parents[2]
_RUN = [sys.executable, "-m", "pytest", "-q", "tests/e2e/killed_run.py"]
_START_S, _END_S = 90, 30


def _own_servers() -> dict[str, str]:
    """Return the environment without the addresses of other servers, so that the run starts its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("POSTGRES_", "REDIS_"))}


def _started_in(folder: Path) -> set[psutil.Process]:
    """Return the processes that have a folder as their TMPDIR, and their descendants."""
    processes: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("TMPDIR") == str(folder):
                processes |= {process, *process.children(recursive=True)}
    return processes


def _names(processes: set[psutil.Process]) -> set[str]:
    """Return the start of the command line of each process that still runs."""
    names: set[str] = set()
    for process in processes:
        with suppress(psutil.Error):
            names.add(" ".join(process.cmdline()[:3]))
    return names


@pytest.mark.parametrize("options", [[], ["-n", "1"]], ids=["one process", "xdist"])
def test_killed_run_leaves_no_server(options: list[str]) -> None:
    """After SIGKILL of pytest, PostgreSQL, Valkey, the API and the workers of xdist end."""
    # The user of PostgreSQL cannot enter pytest's own folder.
    with TemporaryDirectory(prefix="promo-killed-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        ready = folder / "ready"
        with subprocess.Popen(
            [*_RUN, *options], cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env=_own_servers() | {"TMPDIR": str(folder), "READY_FILE": str(ready)},
        ) as run:  # fmt: skip
            try:
                assert wait_until(lambda: ready.exists() or run.poll() is not None, _START_S)
                left = _started_in(folder)
                assert any("postgres" in name for name in _names(left))
                assert any("valkey" in name for name in _names(left))
                assert any("promo_api" in name for name in _names(left))
            finally:
                run.kill()
        assert wait_gone(left, _END_S), _names(left)
        assert _started_in(folder) == set()
