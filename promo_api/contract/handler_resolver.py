"""From an operationId to its handler: `user_likes.like_promo` is `like_promo` in `user_likes.py`.

A handler takes the runtime, the account if its operation needs one, parameters, body and `client_address` by name,
and `media_type` if its successful response has several. It returns the body of a 200, `(body, status)` or `(body,
status, headers)`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

from connexion.operations import AbstractOperation
from connexion.resolver import Resolution, Resolver
from starlette.types import Scope

from promo_api.contract.client_address import client_address
from promo_api.contract.conditional_requests import Validators
from promo_api.contract.media_types import ResponseTypes
from promo_api.contract.operations import find_schemes
from promo_api.contract.sender import credentials_of
from promo_api.contract.thread_pools import DEFAULT
from promo_api.contract.validation import call_of


@dataclass(frozen=True)
class BoundHandler:
    """A handler with its runtime."""

    function: Callable[..., Any]
    runtime: object
    needs_account: bool
    takes_client_address: bool
    thread_pool: str
    compress: bool
    negotiates: bool
    validators: Validators
    after_write: Callable[[Any], None] | None

    def __call__(self, scope: Scope) -> Any:
        """Run the handler. Revoked credentials and a missing scope outrank an invalid request."""
        call = call_of(scope)
        account = (credentials_of(scope).authenticate(),) if self.needs_account else ()
        if call.refusal is not None:
            raise call.refusal
        address = {"client_address": client_address(scope)} if self.takes_client_address else {}
        result = self.function(self.runtime, *account, **call.arguments, **address)
        if self.after_write is not None:
            self.after_write(*account)
        return result


class HandlerResolver(Resolver):
    """Finds handlers in a package. `after_write` is called with the account after each successful write of one."""

    def __init__(self, package: str, runtime: object, after_write: Callable[[Any], None] | None = None) -> None:
        super().__init__()
        self._package = package
        self._runtime = runtime
        self._after_write = after_write

    def resolve(self, operation: AbstractOperation) -> Resolution:
        """Return the handler; ResolverError if it does not exist."""
        function = self.resolve_function_from_operation_id(f"{self._package}.{operation.operation_id}")
        declared = operation._operation  # noqa: SLF001 Connexion has no public access to extensions
        needs_account = bool(find_schemes(operation.security or (), operation.operation_id))
        writes = needs_account and operation.method.lower() != "get"
        handler = BoundHandler(
            function=function,
            runtime=self._runtime,
            needs_account=needs_account,
            takes_client_address="client_address" in signature(function).parameters,
            thread_pool=declared.get("x-thread-pool", DEFAULT),
            compress=declared.get("x-compress", False),
            negotiates=ResponseTypes(declared["responses"]).has_several,
            validators=Validators.of(declared),
            after_write=self._after_write if writes else None,
        )
        return Resolution(handler, operation.operation_id)
