"""Operation to thread pool, as api.yml names it, and what is known of a request when it arrives there."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.types import Receive, Scope, Send

from promo_api.contract.client_address import client_address
from promo_api.contract.fair_queue import Source
from promo_api.contract.routing import operation_id_of
from promo_api.contract.sender import claims_of
from promo_api.contract.thread_pool import PoolLimits, ThreadPool
from promo_api.contract.validation import Call, call_of
from promo_api.contract.wsgi import run_wsgi

DEFAULT = "default"
# The pool of operations whose handlers wait for nothing: they run on the event loop.
EVENT_LOOP = "event-loop"


class Arrival(NamedTuple):
    """A request that has arrived.

    Attributes:
        pool: the name of its thread pool.
        operation_id: of api.yml.
        claims: of its token; None: the operation needs no token.
        client_address: "" if it is unknown.
        arguments: the valid ones of the arguments that api.yml declares, by name.
        is_valid: whether the request has the form that api.yml declares.
    """

    pool: str
    operation_id: str
    claims: Any
    client_address: str
    arguments: Mapping[str, Any]
    is_valid: bool


# Returns where a request comes from. Runs on the event loop; may raise a RequestError to refuse the request.
Admit = Callable[[Arrival], Source]


@dataclass(frozen=True)
class PoolChoice:
    """The thread pool of an operation, as api.yml names it.

    Attributes:
        name: `x-thread-pool`.
        by_member: `x-thread-pool-by-member`: the pool for a body with this member.
    """

    name: str
    by_member: Mapping[str, str]

    @property
    def names(self) -> set[str]:
        """All pools that it may choose."""
        return {self.name, *self.by_member.values()}

    def pool(self, call: Call) -> str:
        """Return the pool for a request."""
        if self.by_member:
            body = call.arguments.get("body") or {}
            for member, name in self.by_member.items():
                if body.get(member) is not None:
                    return name
        return self.name


class ThreadPools:
    """An ASGI application that gives each request to the thread pool of its operation.

    Operations that may block, such as activations, have a separate pool, so that they block nothing else.

    Args:
        wsgi_app: what responds.
        pools: the limits of each pool, by name.
        operations: the choice of a pool for each operation, by operationId.
        admit: decides where a request comes from.
        on_refusal: called with the name of the pool and a word for the reason, `full` or `timeout`.
    """

    def __init__(
        self,
        wsgi_app: Callable[..., Iterable[bytes]],
        pools: Mapping[str, PoolLimits],
        operations: Mapping[str, PoolChoice],
        *,
        admit: Admit,
        on_refusal: Callable[[str, str], None],
    ) -> None:
        self._wsgi_app = wsgi_app
        self._pools = {name: ThreadPool(name, wsgi_app, limits, on_refusal) for name, limits in pools.items()}
        self._operations = operations
        self._admit = admit
        unknown = {name for choice in operations.values() for name in choice.names} - {*pools, EVENT_LOOP}
        if unknown:
            raise ValueError(f"there is no thread pool {', '.join(sorted(unknown))}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request; exceptions of the handler are raised here."""
        operation_id, call = operation_id_of(scope), call_of(scope)
        name = self._operations[operation_id].pool(call)
        if name == EVENT_LOOP:
            status, headers, body = run_wsgi(self._wsgi_app, scope)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        is_valid = call.refusal is None
        arrival = Arrival(name, operation_id, claims_of(scope), client_address(scope), call.arguments, is_valid)
        await self._pools[name].respond(scope, receive, send, self._admit(arrival))

    def close(self) -> None:
        """Wait for the requests that run, and end all threads."""
        for pool in self._pools.values():
            pool.close()
