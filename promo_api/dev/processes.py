"""Processes that may outlive their parent. An ID does not identify one: it is reused."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_POLL_S = 0.02
# Start times depend on the system clock, which may be adjusted.
_CLOCK_TOLERANCE_S = 10


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs. A zombie does not; without init it may stay forever."""
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for `condition()`; return False on timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def wait_gone(processes: Iterable[psutil.Process], timeout_s: float) -> bool:
    """Wait until all processes have ended; return False on timeout."""
    remaining = list(processes)
    return wait_until(lambda: not any(map(is_alive, remaining)), timeout_s)


def end_group(process: psutil.Process, timeout_s: float) -> None:
    """Terminate a group leader; after `timeout_s`, kill the group."""
    with suppress(psutil.Error):
        process.terminate()
    if not wait_gone([process], timeout_s):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        wait_gone([process], timeout_s)


def write_pid_file(file: Path, pid: int) -> None:
    """Store the ID and the start time of a process."""
    with suppress(psutil.NoSuchProcess):
        file.write_text(json.dumps({"pid": pid, "started_at": psutil.Process(pid).create_time()}))


def read_pid_file(file: Path) -> psutil.Process | None:
    """Return the process that was stored, or None if it has ended."""
    with suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
        stored = json.loads(file.read_text())
        process = psutil.Process(stored["pid"])
        if is_alive(process) and abs(process.create_time() - stored["started_at"]) < _CLOCK_TOLERANCE_S:
            return process
    return None
