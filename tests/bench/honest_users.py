"""Honest users behind one address, and whether they are served."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple

from tests.accounts import PASSWORD, user_body
from tests.bench.client import Client, Response

_ADDRESS = "192.0.2.1"
_MISTYPED_PASSWORD = "Passw0rd?"
_PAUSE_MAX_S = 1.0
_SIGN_IN_SHARE = 0.05
_random = Random(3)  # noqa: S311 the same requests in each run


class Sample(NamedTuple):
    """A request, and whether its response was the expected one."""

    kind: str
    status: int
    took_s: float
    served: bool


class HonestUser:
    """A user behind the proxy."""

    def __init__(self, client: Client, samples: list[Sample]) -> None:
        self._client, self._samples = client, samples
        self._body = user_body()
        self._token = ""

    async def sign_up(self) -> None:
        """Sign up."""
        response = await self._request("sign-up", "POST", "/user/auth/sign-up", self._body)
        self._token = response.json["token"] if response.status == 200 else ""

    async def sign_in(self) -> None:
        """Sign in at the second attempt; the first has a wrong password."""
        await self._sign_in(_MISTYPED_PASSWORD, 401)
        response = await self._sign_in(PASSWORD, 200)
        self._token = response.json["token"] if response.status == 200 else self._token

    async def activate(self, promo_id: str) -> None:
        """Activate a promo."""
        await self._request("activate", "POST", f"/user/promo/{promo_id}/activate")

    async def visit(self, promo_id: str) -> None:
        """Read the feed, and like, comment and activate one promo."""
        if _random.random() < _SIGN_IN_SHARE:
            await self.sign_in()
        await self._request("feed", "GET", "/user/feed?limit=10")
        await self._request("promo", "GET", f"/user/promo/{promo_id}")
        await self._request("like", "POST", f"/user/promo/{promo_id}/like")
        await self._request("comment", "POST", f"/user/promo/{promo_id}/comments", {"text": "As good as ever."})
        await self.activate(promo_id)
        await self._request("history", "GET", "/user/promo/history")

    async def _sign_in(self, password: str, expected: int) -> Response:
        body = {"email": self._body["email"], "password": password}
        return await self._request("sign-in", "POST", "/user/auth/sign-in", body, expected)

    async def _request(
        self, kind: str, method: str, path: str, body: dict[str, Any] | None = None, expected: int | None = None
    ) -> Response:
        response = await self._client.request(method, path, body, token=self._token, address=_ADDRESS)
        served = 200 <= response.status < 300 if expected is None else response.status == expected
        self._samples.append(Sample(kind, response.status, response.took_s, served))
        return response


async def visit_repeatedly(port: int, promo_ids: Sequence[str], users: int, duration_s: float) -> list[Sample]:
    """Let users visit concurrently, with short pauses, for a duration."""
    samples: list[Sample] = []
    is_over = asyncio.Event()
    asyncio.get_running_loop().call_later(duration_s, is_over.set)

    async def run_user() -> None:
        async with Client(port) as client:
            user = HonestUser(client, samples)
            await user.sign_up()
            while not is_over.is_set():
                await user.visit(_random.choice(promo_ids))
                with suppress(TimeoutError):
                    await asyncio.wait_for(is_over.wait(), _PAUSE_MAX_S * _random.random())

    await asyncio.gather(*(run_user() for _ in range(users)))
    return samples


async def arrive(port: int, promo_id: str, users: int, connections: int) -> list[Sample]:
    """Let each user sign up, sign in and activate the promo, over a few connections."""
    samples: list[Sample] = []
    numbers = iter(range(users))

    async def run_connection() -> None:
        async with Client(port) as client:
            for _ in numbers:
                user = HonestUser(client, samples)
                await user.sign_up()
                await user.sign_in()
                await user.activate(promo_id)

    await asyncio.gather(*(run_connection() for _ in range(connections)))
    return samples
