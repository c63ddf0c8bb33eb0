"""Who sent a request, once its token has been read."""

from collections.abc import Hashable
from typing import Any

from starlette.types import Scope

from promo_api.contract.client_address import client_address, client_network

# In the extensions of the ASGI scope: the transport, whose is_closing() says whether the client has disconnected.
CONNECTION = "promo_api.connection"
_SECURITY_CONTEXT = "connexion_context"


def claims_of(scope: Scope) -> Any:
    """Return the claims of the token of a request; None if its operation needs no token."""
    return scope["extensions"].get(_SECURITY_CONTEXT, {}).get("token_info", {}).get("claims")


def sender_of(scope: Scope) -> Hashable:
    """Return a key for the sender of a request: the claims of its token, or else the client address."""
    return claims_of(scope) or client_network(client_address(scope))
