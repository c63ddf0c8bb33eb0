"""Handlers that block, and one that returns its thread."""

from threading import Event, Semaphore, current_thread
from typing import Any


class Gate:
    """A gate that blocks handlers until a test opens it."""

    def __init__(self) -> None:
        self.entered = Semaphore(0)
        self.open = Event()


def wait(gate: Gate) -> dict[str, Any]:
    """Wait until the gate is open."""
    gate.entered.release()
    assert gate.open.wait(10)
    return {}


def thread(_runtime: object) -> dict[str, Any]:
    """Return the name of the thread."""
    return {"thread": current_thread().name}
