"""Being asked to stop: Ctrl-C, SIGTERM, and the end of the terminal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue


class StopSignals:
    """The signals that came; all but the first change nothing, so an impatient second Ctrl-C can't break a tidy end."""

    def __init__(self) -> None:
        # Of the ways to tell another part of the program something, only this one may be used in a signal handler.
        self._received: SimpleQueue[int] = SimpleQueue()
        self._stopping = False

    def receive(self, number: int, _frame: object) -> None:
        """Handle a signal."""
        self._received.put(number)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for a signal, None: as long as it takes; return whether one has come by now."""
        if not self._stopping:
            try:
                self._received.get(timeout=timeout_s)
            except Empty:
                return False
            self._stopping = True
        return True


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Collect the signals that ask to stop, instead of being ended by them. Only for the main thread."""
    signals = StopSignals()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        numbers.append(signal.SIGHUP)
    before = [(number, signal.signal(number, signals.receive)) for number in numbers]
    try:
        yield signals
    finally:
        for number, handler in before:
            signal.signal(number, handler)
