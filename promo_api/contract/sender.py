"""Who sent a request."""

from collections.abc import Hashable
from typing import Any

from starlette.types import Scope

from promo_api.contract.client_address import client_address, client_network

# A scope extension: the transport, for is_closing().
CONNECTION = "promo_api.connection"
_CLAIMS = "contract.claims"


def set_claims(scope: Scope, claims: Any) -> None:
    """Store the claims."""
    scope["extensions"][_CLAIMS] = claims


def claims_of(scope: Scope) -> Any:
    """Return the claims; None if the operation needs no token."""
    return scope["extensions"].get(_CLAIMS)


def sender_of(scope: Scope) -> Hashable:
    """Return the claims or the client's network."""
    return claims_of(scope) or client_network(client_address(scope))
