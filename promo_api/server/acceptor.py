"""Accepts a few connections at a time, so that all workers get their share."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from promo_api.server.connection_limits import ConnectionLimit

_log = logging.getLogger(__name__)

# At most 4000 a second. In the pause other workers accept.
_ACCEPTED_AT_ONCE = 4
_PAUSE_S = 0.001
# If no connection could be closed to make room.
_FAILURE_PAUSE_S = 0.1
# Log once, until no failure for this long.
_LOG_INTERVAL_S = 10.0
_NO_FILE_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class FairAcceptor:
    """Accepts from a non-blocking listening socket that other processes share.

    The event loop would accept all connections of a load balancer in one worker.
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
        self._is_closed = False
        self._resume()

    def close(self) -> None:
        """Accept the backlog, then no more. Close the socket right after: later connections are reset."""
        self._is_closed = True
        self._loop.remove_reader(self._listener)
        with suppress(OSError):
            while True:
                self._start(self._listener.accept()[0])

    async def wait_closed(self) -> None:
        """Wait until accepted connections have started."""
        await asyncio.gather(*self._pending, return_exceptions=True)

    def _resume(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        pause_s = _PAUSE_S
        try:
            for _ in range(_ACCEPTED_AT_ONCE):
                if self._limit.is_reached(len(self._pending)):
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))  # noqa: TRY301 handled like an error of accept()
                self._start(self._listener.accept()[0])
        except (BlockingIOError, ConnectionAbortedError):
            pass  # no backlog, or another worker was faster
        except OSError as error:
            closed = self._limit.make_room() if error.errno in _NO_FILE_DESCRIPTORS else 0
            self._log_failure(error.strerror, closed)
            pause_s = _PAUSE_S if closed else _FAILURE_PAUSE_S
        except Exception as error:  # noqa: BLE001 the worker must accept again
            self._log_failure(type(error).__qualname__, 0)
            pause_s = _FAILURE_PAUSE_S
        self._loop.remove_reader(self._listener)
        self._loop.call_later(pause_s, self._resume)

    def _log_failure(self, reason: str | None, closed: int) -> None:
        now_s = self._loop.time()
        if now_s > self._failure_ended_s:
            _log.warning("accept_failed", extra={"reason": reason, "closed": closed})
        self._failure_ended_s = now_s + _LOG_INTERVAL_S

    def _start(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003 its only parameter
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._make_protocol, connection))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
