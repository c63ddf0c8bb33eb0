"""Who sent a request."""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from starlette.types import Scope

from promo_api.contract.client_address import client_address, client_network

# A scope extension: the transport, for is_closing().
CONNECTION = "promo_api.connection"
_CREDENTIALS = "contract.credentials"


class Credentials(NamedTuple):
    """The token or the API key of a request.

    Attributes:
        kind: `token` or `key`.
        claims: what could be read without the database.
        authenticate: returns the account, or raises a RequestError. May block.
    """

    kind: str
    claims: Any
    authenticate: Callable[[], object]


def set_credentials(scope: Scope, credentials: Credentials) -> None:
    """Store the credentials."""
    scope["extensions"][_CREDENTIALS] = credentials


def credentials_of(scope: Scope) -> Credentials:
    """Return the credentials of a request that needs them."""
    credentials: Credentials = scope["extensions"][_CREDENTIALS]
    return credentials


def credentials_kind(scope: Scope) -> str:
    """Return the kind of the credentials, even if revoked; `none` if the request has none or malformed ones."""
    credentials: Credentials | None = scope.get("extensions", {}).get(_CREDENTIALS)
    return "none" if credentials is None else credentials.kind


def claims_of(scope: Scope) -> Any:
    """Return the claims; None if the operation needs no account."""
    credentials: Credentials | None = scope["extensions"].get(_CREDENTIALS)
    return None if credentials is None else credentials.claims


def sender_of(scope: Scope) -> Hashable:
    """Return the account, or else the claims, if they are known to be genuine; otherwise the client's network.

    The account of an API key is known once a thread has authenticated it.
    """
    claims = claims_of(scope)
    return getattr(claims, "account_id", claims) or client_network(client_address(scope))
