"""Processes that may outlive whoever started them.

A number alone doesn't tell a process: after a while, or a restart of the machine, another has it. And one that has
ended keeps its number as long as nobody collects it, which in a container without an init may be for ever.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_POLL_S = 0.02
# The start of a process is computed from the clock of the machine, which may have been set since.
_CLOCK_TOLERANCE_S = 10


def find_server(pid: int, name: str, folder: Path) -> psutil.Process | None:
    """Return the process `pid` if it is a server called `name` that was started on `folder`, else None."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if is_alive(process) and process.name() == name and str(folder) in process.cmdline():
            return process
    return None


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process has not ended; one that only waits to be collected has."""
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for `condition` to hold; return whether it did in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def wait_gone(processes: Iterable[psutil.Process], timeout_s: float) -> bool:
    """Wait for the end of all `processes`; return whether all ended in time."""
    waited = list(processes)
    return wait_until(lambda: not any(map(is_alive, waited)), timeout_s)


def end_group(process: psutil.Process, patience_s: float) -> None:
    """End the leader of a process group: ask it, and when it takes longer than `patience_s` kill all of its group."""
    with suppress(psutil.Error):
        process.terminate()
    if not wait_gone([process], patience_s):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        wait_gone([process], patience_s)


def write_pid_file(file: Path, pid: int) -> None:
    """Note in `file` which process `pid` is."""
    with suppress(psutil.NoSuchProcess):
        file.write_text(json.dumps({"pid": pid, "started_at": psutil.Process(pid).create_time()}))


def read_pid_file(file: Path) -> psutil.Process | None:
    """Return the process that `file` notes, or None if it has ended or nothing legible is noted."""
    with suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
        noted = json.loads(file.read_text())
        process = psutil.Process(noted["pid"])
        if is_alive(process) and abs(process.create_time() - noted["started_at"]) < _CLOCK_TOLERANCE_S:
            return process
    return None
