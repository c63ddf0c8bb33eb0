"""Honest users, all of them behind one address: what they do, and whether they are served."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple

from tests.accounts import PASSWORD, user_body
from tests.bench.caller import Answer, Caller

_ADDRESS = "192.0.2.1"
_MISTYPED = "Passw0rd?"
_THINK_MAX_S = 1.0
_SIGN_IN_SHARE = 0.05
_random = Random(3)  # noqa: S311 the same days in each run


class Seen(NamedTuple):
    """What came of a request: whether it was answered as it should be, and after how long."""

    kind: str
    status: int
    took_s: float
    served: bool


class Person:
    """A user, over a connection of the proxy before the service."""

    def __init__(self, caller: Caller, seen: list[Seen]) -> None:
        self._caller, self._seen = caller, seen
        self._body = user_body()
        self._token = ""

    async def arrive(self) -> None:
        """Sign up."""
        answer = await self._ask("sign-up", "POST", "/user/auth/sign-up", self._body)
        self._token = answer.json["token"] if answer.status == 200 else ""

    async def sign_in(self) -> None:
        """Sign in, once the password has been mistyped."""
        await self._sign_in(_MISTYPED, 401)
        answer = await self._sign_in(PASSWORD, 200)
        self._token = answer.json["token"] if answer.status == 200 else self._token

    async def activate(self, promo_id: str) -> None:
        """Activate a promo."""
        await self._ask("activate", "POST", f"/user/promo/{promo_id}/activate")

    async def visit(self, promo_id: str) -> None:
        """Look around, and make use of one promo."""
        if _random.random() < _SIGN_IN_SHARE:
            await self.sign_in()
        await self._ask("feed", "GET", "/user/feed?limit=10")
        await self._ask("promo", "GET", f"/user/promo/{promo_id}")
        await self._ask("like", "POST", f"/user/promo/{promo_id}/like")
        await self._ask("comment", "POST", f"/user/promo/{promo_id}/comments", {"text": "As good as ever."})
        await self.activate(promo_id)
        await self._ask("history", "GET", "/user/promo/history")

    async def _sign_in(self, password: str, wanted: int) -> Answer:
        body = {"email": self._body["email"], "password": password}
        return await self._ask("sign-in", "POST", "/user/auth/sign-in", body, wanted)

    async def _ask(
        self, kind: str, method: str, path: str, body: dict[str, Any] | None = None, wanted: int | None = None
    ) -> Answer:
        answer = await self._caller.ask(method, path, body, token=self._token, address=_ADDRESS)
        served = 200 <= answer.status < 300 if wanted is None else answer.status == wanted
        self._seen.append(Seen(kind, answer.status, answer.took_s, served))
        return answer


async def live(port: int, promo_ids: Sequence[str], people_count: int, duration_s: float) -> list[Seen]:
    """Let people visit for a time, all at once, each with moments of thought, and return what they saw."""
    seen: list[Seen] = []
    is_over = asyncio.Event()
    asyncio.get_running_loop().call_later(duration_s, is_over.set)

    async def one() -> None:
        async with Caller(port) as caller:
            person = Person(caller, seen)
            await person.arrive()
            while not is_over.is_set():
                await person.visit(_random.choice(promo_ids))
                with suppress(TimeoutError):
                    await asyncio.wait_for(is_over.wait(), _THINK_MAX_S * _random.random())

    await asyncio.gather(*(one() for _ in range(people_count)))
    return seen


async def crowd(port: int, promo_id: str, people_count: int, connections: int) -> list[Seen]:
    """Let so many people come, one after the other over some connections; each signs up, signs in and activates."""
    seen: list[Seen] = []
    numbers = iter(range(people_count))

    async def some() -> None:
        async with Caller(port) as caller:
            for _ in numbers:
                person = Person(caller, seen)
                await person.arrive()
                await person.sign_in()
                await person.activate(promo_id)

    await asyncio.gather(*(some() for _ in range(connections)))
    return seen
