"""The stand-in of the anti-fraud service, steered about users: accounts, and members that only this check knows."""

from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID, uuid4

import httpx

from promo_api.antifraud import Antifraud

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Member:
    """A user of whom nobody has heard before."""

    user_id: UUID = field(default_factory=uuid4)
    email: str = field(default_factory=lambda: f"{uuid4().hex}@example.com")

    @property
    def verdict_key(self) -> str:
        """Where Redis keeps the verdict about the member."""
        return f"antifraud:{{{self.user_id}}}:verdict"

    @property
    def turn_key(self) -> str:
        """Where Redis keeps whose turn it is to ask about the member."""
        return f"antifraud:{{{self.user_id}}}:turn"

    def tries(self, antifraud: Antifraud) -> bool:
        """Attempt to activate some promo, and return whether it is allowed."""
        return antifraud.allows(self.user_id, self.email, uuid4())


class Known(Protocol):
    """Whoever the service can be asked about."""

    @property
    def email(self) -> str:
        """The address that it knows them by."""
        ...


class StandIn:
    """A client of the stand-in."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def answers(self, user: Known, **behaviour: Any) -> None:
        """Have calls about the user answered so."""
        sent = {"user_email": user.email, **behaviour}
        assert self._client.put("/stub/behaviour", json=sent).status_code == 204

    def calls(self, *users: Known) -> int:
        """Return how many calls about the users there were."""
        by_email = self._client.get("/stub/calls").json()["by_email"]
        return sum(by_email.get(user.email, 0) for user in users)

    def at_once(self, user: Known) -> int:
        """Return how many calls about the user there were at the same time at most."""
        return int(self._client.get("/stub/calls").json()["at_once"].get(user.email, 0))

    def forget(self) -> None:
        """Answer at once whom it holds back, and forget all behaviour and calls."""
        assert self._client.delete("/stub").status_code == 204
