"""Bearer tokens: signature and claims. Revocation needs the database, so the handler's thread checks it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from connexion.middleware.abstract import SpecMiddleware
from connexion.spec import Specification
from starlette.types import ASGIApp, Receive, Scope, Send

from promo_api.contract.operations import operation_id_of, operations_of
from promo_api.contract.sender import set_claims
from promo_api.errors import Unauthenticated


class BearerScheme(NamedTuple):
    """How the application checks tokens.

    Attributes:
        read_token: returns the claims; raises Unauthenticated if the token is not valid. Must not block.
        authenticate: returns the account; raises Unauthenticated if the token was revoked. May block.
    """

    read_token: Callable[[str], Any]
    authenticate: Callable[[Any], object]


class SecurityMiddleware(SpecMiddleware):
    """Checks tokens, and stores the claims."""

    def __init__(self, app: ASGIApp, *, schemes: Mapping[str, BearerScheme]) -> None:
        self._app = app
        self._schemes = schemes
        self._readers: dict[str, Callable[[str], Any] | None] = {}

    def add_api(self, specification: Specification, **_options: Any) -> None:
        """Find the scheme of each operation; ValueError if it does not exist."""
        for operation in operations_of(specification):
            if operation.scheme is None:
                self._readers[operation.id] = None
                continue
            declared = specification.security_schemes.get(operation.scheme, {})
            if operation.scheme not in self._schemes or declared.get("scheme") != "bearer":
                raise ValueError(f"{operation.id} has an unknown security scheme, {operation.scheme}")
            self._readers[operation.id] = self._schemes[operation.scheme].read_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the token, if needed."""
        if scope["type"] == "http":
            read_token = self._readers[operation_id_of(scope)]
            if read_token is not None:
                set_claims(scope, _claims(scope["headers"], read_token))
        await self._app(scope, receive, send)


def _claims(headers: Iterable[tuple[bytes, bytes]], read_token: Callable[[str], Any]) -> Any:
    values = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    # Refuse two headers: a proxy may have checked the other token.
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        message = "A token is needed. Sign in, and send it once, as `Authorization: Bearer <token>`."
        raise Unauthenticated(message, code="token_missing")
    return read_token(token.strip())
