"""Memory is returned to the system when connections have been closed, and rarely."""

import gc
import logging
import weakref

import pytest

from promo_api.server import memory
from promo_api.server.memory import MemoryRelease, release_memory, resident_bytes

_MIB = 1024 * 1024


class _Process:
    """A process whose memory the test sets; a release brings it down to `least_mib`."""

    def __init__(self) -> None:
        self.mib, self.least_mib, self.releases = 100, 100, 0

    def resident_bytes(self) -> int:
        """Return its memory."""
        return self.mib * _MIB

    def release(self) -> None:
        """Count a release."""
        self.releases += 1
        self.mib = self.least_mib


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> _Process:
    """The process that is measured."""
    stub = _Process()
    monkeypatch.setattr(memory, "resident_bytes", stub.resident_bytes)
    monkeypatch.setattr(memory, "release_memory", stub.release)
    return stub


@pytest.mark.parametrize(("mib", "closed", "releases"), [(140, 1, 1), (131, 1, 0), (140, 0, 0)])
def test_release(process: _Process, mib: int, closed: int, releases: int) -> None:
    """Memory is released if the process has grown by 32 MiB and a connection has been closed."""
    release = MemoryRelease()
    process.mib = mib
    release.run_if_due(closed, 1.0)
    assert process.releases == releases


def test_interval(process: _Process) -> None:
    """Between two releases there are ten seconds, and a connection has been closed."""
    release = MemoryRelease()
    process.mib = process.least_mib = 200
    for closed, now_s, releases in [(5, 1.0, 1), (6, 10.9, 1), (6, 11.1, 2), (6, 30.0, 2), (7, 31.0, 3)]:
        release.run_if_due(closed, now_s)
        assert process.releases == releases


@pytest.mark.parametrize(("least_mib", "logged"), [(100, [104]), (199, [])])
def test_release_is_logged(
    process: _Process, caplog: pytest.LogCaptureFixture, least_mib: int, logged: list[int]
) -> None:
    """A release that returned memory is logged with how much."""
    caplog.set_level(logging.INFO)
    release = MemoryRelease()
    process.mib, process.least_mib = 200, least_mib
    release.run_if_due(1, 1.0)
    assert [vars(record)["released_mb"] for record in caplog.records] == logged


class _Cycle:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_cycles_are_freed() -> None:
    """A release frees reference cycles, however old they are, and the process knows its size."""
    gc.disable()
    try:
        cycle = weakref.ref(_Cycle())
        assert cycle() is not None
        release_memory()
        assert cycle() is None
    finally:
        gc.enable()
    assert resident_bytes() > _MIB
