"""Reads from replicas, for operations that only show data."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from handlers.idempotency import Account
from promo_api.runtime import Runtime

_Result = TypeVar("_Result")


def reads_replica(handler: Callable[..., _Result]) -> Callable[..., _Result]:
    """Give a handler a connection, to a replica if there is a recent one. It may be called twice, so it must only read.

    A handler that decides or writes uses `runtime.database` instead.
    """

    @wraps(handler)
    def respond(runtime: Runtime, account: Account, **request: Any) -> _Result:
        return runtime.replicas.read(
            account.id, lambda connection: handler(runtime, account, connection=connection, **request)
        )

    return respond
