"""Bearer tokens and API keys, as far as they can be checked without the database.

The handler's thread checks the rest: whether a token was revoked, and whether a key exists and has the scope.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from connexion.middleware.abstract import SpecMiddleware
from connexion.spec import Specification
from starlette.types import ASGIApp, Receive, Scope, Send

from promo_api.contract.operations import Operation, operation_id_of, operations_of
from promo_api.contract.sender import Credentials, set_credentials
from promo_api.errors import Unauthenticated

_TOKEN, _KEY = "token", "key"
_TOKEN_HEADER, _KEY_HEADER = b"authorization", b"x-api-key"


class BearerScheme(NamedTuple):
    """How the application checks tokens.

    Attributes:
        read_token: returns the claims; raises Unauthenticated if the token is not valid. Must not block.
        authenticate: returns the account; raises Unauthenticated if the token was revoked. May block.
    """

    read_token: Callable[[str], Any]
    authenticate: Callable[[Any], object]


class KeyScheme(NamedTuple):
    """How the application checks API keys, which clients send in the header X-Api-Key.

    Attributes:
        read_key: returns the claims; raises Unauthenticated if the key has another form. Must not block.
        authenticate: returns the account for the claims and a scope. Raises Unauthenticated if the key is not valid,
            and ScopeMissing if it lacks the scope. May block.
        scopes: the known scopes.
    """

    read_key: Callable[[str], Any]
    authenticate: Callable[[Any, str], object]
    scopes: tuple[str, ...]


Scheme = BearerScheme | KeyScheme
_Headers = Iterable[tuple[bytes, bytes]]


class SecurityMiddleware(SpecMiddleware):
    """Checks tokens and API keys, and stores the claims."""

    def __init__(self, app: ASGIApp, *, schemes: Mapping[str, Scheme]) -> None:
        self._app = app
        self._schemes = schemes
        self._readers: dict[str, Callable[[_Headers], Credentials] | None] = {}

    def add_api(self, specification: Specification, **_options: Any) -> None:
        """Find the schemes of each operation; ValueError if one does not exist."""
        for operation in operations_of(specification):
            self._readers[operation.id] = self._reader(operation, specification.security_schemes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the token or the key, if needed."""
        if scope["type"] == "http":
            read = self._readers[operation_id_of(scope)]
            if read is not None:
                set_credentials(scope, read(scope["headers"]))
        await self._app(scope, receive, send)

    def _reader(
        self, operation: Operation, declared: Mapping[str, Mapping[str, Any]]
    ) -> Callable[[_Headers], Credentials] | None:
        """Return the function that reads the credentials of a request; None if no account is needed."""
        for name in operation.schemes:
            if name not in self._schemes or not _is_supported(declared.get(name, {}), self._schemes[name]):
                raise ValueError(f"{operation.id} has an unknown security scheme, {name}")
        key_scope = operation.key_scope or ""
        match [self._schemes[name] for name in operation.schemes]:
            case [] if not key_scope:
                return None
            case [BearerScheme() as token] if not key_scope:
                return partial(_read_token, token)
            case [BearerScheme() as token, KeyScheme() as key] if key_scope in key.scopes:
                return partial(_read_either, token, key, key_scope)
        raise ValueError(
            f"{operation.id} must have no scheme, one for tokens, or also one for keys with an x-key-scope"
        )


def _is_supported(declared: Mapping[str, Any], scheme: Scheme) -> bool:
    if isinstance(scheme, BearerScheme):
        return declared.get("scheme") == "bearer"
    return (declared.get("in"), str(declared.get("name")).lower().encode()) == ("header", _KEY_HEADER)


def _read_token(scheme: BearerScheme, headers: _Headers) -> Credentials:
    values = [value for name, value in headers if name == _TOKEN_HEADER]
    message = "A token is needed. Sign in, and send it once, as `Authorization: Bearer <token>`."
    return _read_bearer(scheme, values, message)


def _read_either(scheme: BearerScheme, key_scheme: KeyScheme, key_scope: str, headers: _Headers) -> Credentials:
    """Read the token or the key, whichever was sent.

    A request with both is refused: a proxy may have checked one of them, and this service the other.
    """
    tokens, keys = [], []
    for name, value in headers:
        if name == _TOKEN_HEADER:
            tokens.append(value)
        elif name == _KEY_HEADER:
            keys.append(value)
    if not keys:
        message = "A token or an API key is needed, as `Authorization: Bearer <token>` or `X-Api-Key: <key>`."
        return _read_bearer(scheme, tokens, message)
    if tokens or len(keys) > 1:
        raise Unauthenticated("Send either one token or one API key.", code="credentials_ambiguous")
    claims = key_scheme.read_key(keys[0].decode("latin-1"))
    return Credentials(_KEY, claims, partial(key_scheme.authenticate, claims, key_scope))


def _read_bearer(scheme: BearerScheme, values: list[bytes], missing: str) -> Credentials:
    # Refuse two headers: a proxy may have checked the other token.
    name, _, token = values[0].decode("latin-1").partition(" ") if len(values) == 1 else ("", "", "")
    if name.lower() != "bearer":
        raise Unauthenticated(missing, code="token_missing")
    claims = scheme.read_token(token.strip())
    return Credentials(_TOKEN, claims, partial(scheme.authenticate, claims))
