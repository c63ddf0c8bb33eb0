"""Operation to handler: each operationId names a plain function, which is bound to the runtime.

Where the operation is secured, the function gets the account that asks, so that no handler can forget to check it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from connexion.exceptions import OAuthProblem
from connexion.lifecycle import ConnexionRequest
from connexion.operations import AbstractOperation
from connexion.resolver import Resolution, Resolver
from connexion.security import BearerSecurityHandler
from connexion.utils import get_function_from_name

from promo_api.contract.thread_pools import DEFAULT, PoolChoice
from promo_api.contract.validation import Call, declaration_of

# Takes what a token says and returns the account; raises Unauthenticated if the token counts no more.
Authenticate = Callable[[Any], object]
# Takes a token and returns what it says; None if it is none of ours.
ReadToken = Callable[[str], Mapping[str, Any] | None]


@dataclass(frozen=True)
class BoundHandler:
    """A handler function with its dependencies.

    Attributes:
        pool: the choice of its thread pool.
        compress: large responses are compressed if the client accepts it (`x-compress`).
    """

    function: Callable[..., Any]
    runtime: object
    authenticate: Authenticate | None
    pool: PoolChoice
    compress: bool

    def __call__(self, call: Call, claims: Any) -> Any:
        """Run the handler in this thread: who asks, then how, then what."""
        principal = () if self.authenticate is None else (self.authenticate(claims),)
        if call.refusal is not None:
            raise call.refusal
        return self.function(self.runtime, *principal, **call.arguments)


class HandlerResolver(Resolver):
    """Finds the function of an operation below a package, and binds it."""

    def __init__(self, package: str, runtime: object, authenticate: Mapping[str, Authenticate]) -> None:
        super().__init__()
        self._package = package
        self._runtime = runtime
        self._authenticate = authenticate

    def resolve(self, operation: AbstractOperation) -> Resolution:
        """Return the bound handler; ResolverError if there is no such function."""
        function = self.resolve_function_from_operation_id(f"{self._package}.{operation.operation_id}")
        schemes = [scheme for requirement in operation.security or () for scheme in requirement]
        authenticate = self._authenticate[schemes[0]] if schemes else None
        declared = declaration_of(operation)
        handler = BoundHandler(
            function=partial(function, **declared.get("x-arguments", {})),
            runtime=self._runtime,
            authenticate=authenticate,
            pool=PoolChoice(declared.get("x-thread-pool", DEFAULT), declared.get("x-thread-pool-by-member", {})),
            compress=declared.get("x-compress", False),
        )
        return Resolution(handler, operation.operation_id)


class BearerHandler(BearerSecurityHandler):
    """Checks bearer tokens with the function that the scheme names in api.yml, bound to what it needs to read them."""

    def __init__(self, tokens: object) -> None:
        self._tokens = tokens

    def _resolve_func(self, security_scheme: Mapping[str, Any]) -> ReadToken:
        return partial(get_function_from_name(security_scheme[self.security_definition_key]), self._tokens)

    def _get_verify_func(self, function: ReadToken) -> Callable[[ConnexionRequest], Mapping[str, Any]]:
        """Return what checks a request: stock, it looks up anew for each one what the function takes."""

        def verify(request: ConnexionRequest) -> Mapping[str, Any]:
            token_info = function(_bearer_token(request))
            if token_info is None:
                raise OAuthProblem
            return token_info

        return verify


def _bearer_token(request: ConnexionRequest) -> str:
    # Which of two headers a proxy has looked at can't be known, so two are refused.
    headers = request.headers.getlist("authorization")
    scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise OAuthProblem
    return token.strip()
