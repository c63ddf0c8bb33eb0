"""Ends the servers of a killed test run, whose fixtures can no longer do it.

Each pytest process starts a watchdog, which waits for the end of a pipe that only this process holds open. A variable
in the environment of the servers identifies the run. Programs that overwrite their environment when they set their
title (nginx, Valkey) are ended in another way, where they are started.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import psutil

VARIABLE = "PROMO_TEST_RUNS"
_ATTEMPTS, _TERMINATION_S = 5, 5


class Watchdog:
    """The watchdog of this process. All servers that start later end with it."""

    def __init__(self) -> None:
        run = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._process = subprocess.Popen(
            [sys.executable, __file__, run], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
        )  # fmt: skip
        # The servers of an xdist worker end with the worker and with the process that started the worker.
        os.environ[VARIABLE] = f"{os.environ.get(VARIABLE, '')} {run}".strip()

    def close(self) -> None:
        """End the watchdog, and every server that a test left running."""
        self._process.communicate()


def _processes(run: str) -> Iterator[psutil.Process]:
    """Yield the processes that a run started, and their descendants."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if run in process.environ().get(VARIABLE, "").split():
                yield process
                yield from process.children(recursive=True)


def _end_all(run: str) -> None:
    for _ in range(_ATTEMPTS):
        left = set(_processes(run))
        for process in left:
            with suppress(psutil.Error):
                process.terminate()
        _, alive = psutil.wait_procs(left, timeout=_TERMINATION_S)
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=_TERMINATION_S)


if __name__ == "__main__":
    sys.stdin.read()
    _end_all(sys.argv[1])
