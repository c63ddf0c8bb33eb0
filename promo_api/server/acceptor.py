"""Accepting connections: a few at a time, so that all workers get their share, and never beyond the file limit."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from promo_api.server.connection_limits import ConnectionLimit

_log = logging.getLogger(__name__)

# The pause is long enough for other workers to wake up, and short compared with the time to connect. The number keeps
# a worker busy, and leaves connections to the others.
_AT_ONCE = 2
# After this many full turns the backlog is long enough for all workers, and is accepted faster.
_FULL_TURNS = 8
_AT_ONCE_OF_MANY = 32
_PAUSE_S = 0.001
# Before the next try, if it failed and no connection could be closed.
_FAILURE_PAUSE_S = 0.1
# A failure is logged once, until there has been none for this long.
_BURST_S = 10.0
_NO_FILES = (errno.EMFILE, errno.ENFILE)


class FairAcceptor:
    """Accepts connections from a listening socket that other processes listen on too.

    The event loop itself accepts all waiting connections as soon as it wakes up. A load balancer makes its connections
    together: one worker would get them all, and the others would have nothing to do until they are closed.

    Args:
        listener: a non-blocking socket; the caller closes it.
        make_protocol: makes the protocol of a connection.
        limit: of the worker's connections; when it is reached, or no file descriptor is left, idle ones are closed.
    """

    def __init__(
        self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol], limit: ConnectionLimit
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._pending: set[asyncio.Task[object]] = set()
        self._failure_ended_s = 0.0
        self._full_turns = 0
        self._is_closed = False
        self._open()

    def close(self) -> None:
        """Accept the connections that wait at this moment, and no more.

        Close the listening socket right after this: a connection that comes in between is reset.
        """
        self._is_closed = True
        self._loop.remove_reader(self._listener)
        with suppress(OSError):
            while True:
                self._begin(self._listener.accept()[0])

    async def wait_closed(self) -> None:
        """Wait until the protocols of all accepted connections have started."""
        await asyncio.gather(*self._pending, return_exceptions=True)

    def _open(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        pause_s = _PAUSE_S
        try:
            for _ in range(_AT_ONCE if self._full_turns < _FULL_TURNS else _AT_ONCE_OF_MANY):
                if self._limit.is_reached(len(self._pending)):
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))  # noqa: TRY301 handled as the kernel's own
                self._begin(self._listener.accept()[0])
            self._full_turns += 1
        except (BlockingIOError, ConnectionAbortedError):
            self._full_turns = 0  # none is left, or another worker was faster
        except OSError as error:
            closed = self._limit.make_room() if error.errno in _NO_FILES else 0
            self._log_failure(error.strerror, closed)
            pause_s = _PAUSE_S if closed else _FAILURE_PAUSE_S
        except Exception as error:  # noqa: BLE001 the worker must accept again
            self._log_failure(type(error).__qualname__, 0)
            pause_s = _FAILURE_PAUSE_S
        self._loop.remove_reader(self._listener)
        self._loop.call_later(pause_s, self._open)

    def _log_failure(self, reason: str | None, closed: int) -> None:
        now_s = self._loop.time()
        if now_s > self._failure_ended_s:
            _log.warning("accept_failed", extra={"reason": reason, "closed": closed})
        self._failure_ended_s = now_s + _BURST_S

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003 its only parameter
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._make_protocol, connection))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
