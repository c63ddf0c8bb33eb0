"""The thread pools. Operations that may block have their own, so that they do not delay others."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from starlette.types import Receive, Scope, Send

from promo_api.contract.client_address import client_address
from promo_api.contract.fair_queue import Source
from promo_api.contract.operations import operation_id_of
from promo_api.contract.pooled_request import RunResult, send_response
from promo_api.contract.sender import claims_of
from promo_api.contract.streams import StreamedResponse
from promo_api.contract.thread_pool import PoolLimits, ThreadPool
from promo_api.contract.validation import call_of

DEFAULT = "default"
# For handlers that never block.
EVENT_LOOP = "event-loop"


class RequestInfo(NamedTuple):
    """A request before it gets a thread. `claims` is None if no account is needed; `is_streamed` as in Call."""

    pool: str
    operation_id: str
    claims: Any
    client_address: str
    arguments: Mapping[str, Any]
    is_valid: bool
    is_streamed: bool = False


# Returns the pool and source of a request, or raises a RequestError. Runs on the event loop.
Admit = Callable[[RequestInfo], tuple[str, Source]]


class ThreadPools:
    """Runs each request in a pool.

    `operations` has pools by operationId; ValueError if one does not exist.
    """

    def __init__(
        self,
        run: Callable[[Scope], RunResult],
        limits: Mapping[str, PoolLimits],
        operations: Mapping[str, str],
        *,
        admit: Admit,
        on_refusal: Callable[[str, str], None],
    ) -> None:
        self._run = run
        self._pools = {name: ThreadPool(name, run, each, on_refusal) for name, each in limits.items()}
        self._operations = operations
        self._admit = admit
        unknown = {*operations.values()} - {*limits, EVENT_LOOP}
        if unknown:
            raise ValueError(f"there is no thread pool {', '.join(sorted(unknown))}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request."""
        operation_id, call = operation_id_of(scope), call_of(scope)
        name = self._operations[operation_id]
        if name == EVENT_LOOP:
            status, headers, body = self._run(scope)
            if isinstance(body, StreamedResponse):
                raise TypeError(f"{operation_id} streams its response, so it needs a thread")
            await send_response((status, headers, body), send)
            return
        is_valid = call.refusal is None
        claims, address = claims_of(scope), client_address(scope)
        info = RequestInfo(name, operation_id, claims, address, call.arguments, is_valid, call.is_streamed)
        name, source = self._admit(info)
        await self._pools[name].respond(scope, receive, send, source)

    def close(self) -> None:
        """Wait for running requests, and end all threads."""
        for pool in self._pools.values():
            pool.close()
