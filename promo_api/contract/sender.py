"""Who sent a request."""

from collections.abc import Hashable
from typing import Any

from starlette.types import Scope

from promo_api.contract.client_address import client_address, client_network

# In the extensions of the ASGI scope: the transport, whose is_closing() says whether the client has disconnected.
CONNECTION = "promo_api.connection"
_CLAIMS = "contract.claims"


def set_claims(scope: Scope, claims: Any) -> None:
    """Store the claims of the token of a request in its scope."""
    scope["extensions"][_CLAIMS] = claims


def claims_of(scope: Scope) -> Any:
    """Return the claims of the token of a request; None if its operation needs no token."""
    return scope["extensions"].get(_CLAIMS)


def sender_of(scope: Scope) -> Hashable:
    """Return a key for the sender of a request: the claims of its token, or else the client address."""
    return claims_of(scope) or client_network(client_address(scope))
