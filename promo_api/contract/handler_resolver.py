"""From an operationId to its handler: `operationId: user_likes.like_promo` is `like_promo` in `user_likes.py`.

A handler takes the runtime; then the account, if its operation needs a token; then the parameters and the body of the
request, by name. A handler with an argument `client_address` gets the address of the client too. A handler returns the
body of a 200, or `(body, status)`, or `(body, status, headers)`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

from connexion.operations import AbstractOperation
from connexion.resolver import Resolution, Resolver
from starlette.types import Scope

from promo_api.contract.client_address import client_address
from promo_api.contract.security import BearerScheme
from promo_api.contract.sender import claims_of
from promo_api.contract.thread_pools import DEFAULT
from promo_api.contract.validation import call_of


@dataclass(frozen=True)
class BoundHandler:
    """A handler with its runtime.

    Attributes:
        scheme: checks the account; None if the operation needs no token.
        takes_client_address: whether the handler has an argument `client_address`.
        thread_pool: `x-thread-pool` of the operation.
        compress: `x-compress` of the operation.
    """

    function: Callable[..., Any]
    runtime: object
    scheme: BearerScheme | None
    takes_client_address: bool
    thread_pool: str
    compress: bool

    def __call__(self, scope: Scope) -> Any:
        """Run the handler. The account is checked first, because a revoked token outranks an invalid request."""
        call = call_of(scope)
        account = () if self.scheme is None else (self.scheme.authenticate(claims_of(scope)),)
        if call.refusal is not None:
            raise call.refusal
        if self.takes_client_address:
            return self.function(self.runtime, *account, **call.arguments, client_address=client_address(scope))
        return self.function(self.runtime, *account, **call.arguments)


class HandlerResolver(Resolver):
    """Finds the function of an operation in a package, and binds it to the runtime."""

    def __init__(self, package: str, runtime: object, schemes: Mapping[str, BearerScheme]) -> None:
        super().__init__()
        self._package = package
        self._runtime = runtime
        self._schemes = schemes

    def resolve(self, operation: AbstractOperation) -> Resolution:
        """Return the bound handler; ResolverError if there is no such function."""
        function = self.resolve_function_from_operation_id(f"{self._package}.{operation.operation_id}")
        names = [name for requirement in operation.security or () for name in requirement]
        declared = operation._operation  # noqa: SLF001 Connexion has no public access to extensions
        handler = BoundHandler(
            function=function,
            runtime=self._runtime,
            scheme=self._schemes[names[0]] if names else None,
            takes_client_address="client_address" in signature(function).parameters,
            thread_pool=declared.get("x-thread-pool", DEFAULT),
            compress=declared.get("x-compress", False),
        )
        return Resolution(handler, operation.operation_id)
