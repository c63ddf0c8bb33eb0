"""The signals that stop a command: Ctrl-C, SIGTERM and the end of the terminal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue


class StopSignals:
    """Only the first counts: a second Ctrl-C must not interrupt the shutdown."""

    def __init__(self) -> None:
        # An Event or a Queue is unsafe in signal handlers.
        self._received: SimpleQueue[int] = SimpleQueue()
        self._stopping = False

    def receive(self, number: int, _frame: object) -> None:
        """Handle a signal."""
        self._received.put(number)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for a signal; return False on timeout."""
        if not self._stopping:
            try:
                self._received.get(timeout=timeout_s)
            except Empty:
                return False
            self._stopping = True
        return True


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Collect stop signals during the block. Main thread only."""
    signals = StopSignals()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        numbers.append(signal.SIGHUP)
    previous = [(number, signal.signal(number, signals.receive)) for number in numbers]
    try:
        yield signals
    finally:
        for number, handler in previous:
            signal.signal(number, handler)
