"""How a worker takes in connections: a few at a time, so that those that come together are shared by all workers."""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

_log = logging.getLogger(__name__)

# A pause is long enough for the others to wake up, and short beside what it takes to connect. Between two of them not
# more are accepted than can be spared, and not fewer than a worker could answer a request of.
_AT_ONCE = 2
_PAUSE_S = 0.001
# There are no more files, or no more memory, until some connections have ended.
_OUT_OF_RESOURCES_S = 1.0


class Door:
    """Accepts connections from a listening socket that other processes listen on too.

    The event loop by itself accepts all that are there as soon as it wakes up. The connections of a load balancer, made
    together, would all be with one worker then, for as long as they stay, and the others would have nothing to do.

    Args:
        listener: it belongs to the caller, does not block, and is not closed here.
        make_protocol: makes what reads a connection.
    """

    def __init__(self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._begun: set[asyncio.Task[object]] = set()
        self._is_closed = False
        self._open()

    def close(self) -> None:
        """Accept whoever waits at this moment, and nobody more.

        Whoever comes between this and the end of the listening socket is reset: so end it right after this.
        """
        self._is_closed = True
        self._loop.remove_reader(self._listener)
        with suppress(OSError):
            while True:
                self._begin(self._listener.accept()[0])

    async def wait_closed(self) -> None:
        """Wait until what was accepted last is known as a connection."""
        await asyncio.gather(*self._begun, return_exceptions=True)

    def _open(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        pause_s = _PAUSE_S
        try:
            for _ in range(_AT_ONCE):
                self._begin(self._listener.accept()[0])
        except (BlockingIOError, ConnectionAbortedError):
            pass  # there are no more, or another worker was faster
        except Exception as error:  # noqa: BLE001 the worker must accept again
            reason = error.strerror if isinstance(error, OSError) else type(error).__qualname__
            _log.warning("accept_failed", extra={"reason": reason})
            pause_s = _OUT_OF_RESOURCES_S
        self._loop.remove_reader(self._listener)
        self._loop.call_later(pause_s, self._open)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003 its only parameter
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._make_protocol, connection))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
