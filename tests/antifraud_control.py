"""Control of the anti-fraud stub, by user: an account, or a user that only the anti-fraud check knows."""

from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID, uuid4

import httpx

from promo_api.antifraud.checks import Antifraud
from promo_api.errors import AntifraudUnavailable

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class AntifraudUser:
    """A new user that is not in the database."""

    user_id: UUID = field(default_factory=uuid4)
    email: str = field(default_factory=lambda: f"{uuid4().hex}@example.com")

    @property
    def verdict_key(self) -> str:
        """The Redis key of the user's verdict."""
        return f"antifraud:{{{self.user_id}}}:verdict"

    @property
    def lease_key(self) -> str:
        """The Redis key of the lease to call the service for the user."""
        return f"antifraud:{{{self.user_id}}}:lease"

    def is_allowed_by(self, antifraud: Antifraud) -> bool:
        """Check an activation of a new promo; return whether it is allowed."""
        try:
            return antifraud.check(self.user_id, self.email, uuid4())
        except AntifraudUnavailable:
            return False


class HasEmail(Protocol):
    """A user for whom the service can be called."""

    @property
    def email(self) -> str:
        """The e-mail address in the call."""
        ...


class AntifraudControl:
    """A client of the stub's control API."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def set_behaviour(self, user: HasEmail, **behaviour: Any) -> None:
        """Set how the stub responds to calls for the user."""
        body = {"user_email": user.email, **behaviour}
        assert self._client.put("/stub/behaviour", json=body).status_code == 204

    def count_calls(self, *users: HasEmail) -> int:
        """Return the number of calls for the users."""
        by_email = self._client.get("/stub/calls").json()["by_email"]
        return sum(by_email.get(user.email, 0) for user in users)

    def max_concurrent_calls(self, user: HasEmail) -> int:
        """Return the maximum number of concurrent calls for the user."""
        return int(self._client.get("/stub/calls").json()["at_once"].get(user.email, 0))

    def reset(self) -> None:
        """Reset all behaviours and counts, and release delayed responses."""
        assert self._client.delete("/stub").status_code == 204
