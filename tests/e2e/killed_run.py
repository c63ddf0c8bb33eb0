"""A test that waits until its run is killed; test_killed_run.py runs this file."""

import os
import signal
from pathlib import Path

from tests.e2e.server import Server


def test_waits(server: Server) -> None:
    """The servers run, and the test does not end."""
    assert server.responds()
    Path(os.environ["READY_FILE"]).touch()
    signal.pause()
