"""Those who abuse the service, each as fast as they can, in a process of their own."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple

import jwt

from tests.accounts import PASSWORD, user_body
from tests.bench.caller import Answer, Caller

_WRONG = "Wr0ng!word"
# Of documentation, like all addresses here.
_ONE_ADDRESS = "203.0.113.7"
_BITES = 100
_BITE_PAUSE_S = 1.0
_random = Random(7)  # noqa: S311 the same abuse in each run


class Target(NamedTuple):
    """What the abusers know: where the service is, an address and a token that are somebody's, and a promo."""

    port: int
    email: str
    token: str
    promo_id: str


Try = Callable[[Caller, Target], Awaitable[Answer]]


def _anywhere() -> str:
    return f"198.51.{_random.randrange(256)}.{_random.randrange(256)}"


def _anybody() -> str:
    return f"somebody{_random.randrange(10**9)}@example.org"


async def _sign_in(caller: Caller, email: str, address: str) -> Answer:
    return await caller.ask("POST", "/user/auth/sign-in", {"email": email, "password": _WRONG}, address=address)


def _post(content: bytes) -> bytes:
    head = "POST /api/user/auth/sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


_BROKEN = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /api/ping HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    b"GET /api/" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    _post(b"[" * 100_000),
    _post(json.dumps([1.5] * 200_000).encode()),
    _post(b'{"email": "\xff\xfe"}'),
    _post(b'{"email": 1' + b"0" * 50_000 + b"}"),
]


async def guess(caller: Caller, target: Target) -> Answer:
    """Guess the password of one account, from everywhere."""
    return await _sign_in(caller, target.email, _anywhere())


async def try_list(caller: Caller, _target: Target) -> Answer:
    """Try the addresses of a list, from one place."""
    return await _sign_in(caller, _anybody(), _ONE_ADDRESS)


async def try_list_everywhere(caller: Caller, _target: Target) -> Answer:
    """Try the addresses of a list, each from another place."""
    return await _sign_in(caller, _anybody(), _anywhere())


async def sign_up(caller: Caller, _target: Target) -> Answer:
    """Make accounts, from one place."""
    return await caller.ask("POST", "/user/auth/sign-up", user_body() | {"email": _anybody()}, address=_ONE_ADDRESS)


async def come_and_go(caller: Caller, target: Target) -> Answer:
    """Make an account, use it once and delete it, each time from another place."""
    address = _anywhere()
    answer = await caller.ask("POST", "/user/auth/sign-up", user_body() | {"email": _anybody()}, address=address)
    if answer.status != 200:
        return answer
    token = answer.json["token"]
    await caller.ask("POST", f"/user/promo/{target.promo_id}/activate", token=token, address=address)
    return await caller.ask("DELETE", "/user/profile", {"password": PASSWORD}, token=token, address=address)


async def activate(caller: Caller, target: Target) -> Answer:
    """Activate one promo again and again."""
    return await caller.ask("POST", f"/user/promo/{target.promo_id}/activate", token=target.token)


async def forge(caller: Caller, target: Target) -> Answer:
    """Change a token, or make one, in one of several ways."""
    header, payload, signature = target.token.split(".")
    claims = jwt.decode(target.token, options={"verify_signature": False})
    forged = _random.choice(
        [
            jwt.encode(claims, key="", algorithm="none"),
            jwt.encode(claims, key="a key that somebody else has made up", algorithm="HS256"),
            jwt.encode(claims | {"exp": 2**33}, key="0" * 32, algorithm="HS256"),
            f"{header}.{payload}.{signature[::-1]}",
            f"{header}.{payload}.",
            "x" * 4000,
        ]
    )
    return await caller.ask("GET", "/user/profile", token=forged)


async def break_in(caller: Caller, _target: Target) -> Answer:
    """Send what is no request, or far too much of one."""
    return await caller.send(_random.choice(_BROKEN))


async def dawdle(caller: Caller, _target: Target) -> Answer:
    """Send a request byte by byte, and hold the connection for as long as the server lets it be held."""
    head = _post(b"x" * _BITES)[:-_BITES]
    return await caller.send(head, *[b"x"] * _BITES, pause_s=_BITE_PAUSE_S)


# How many do it at once.
ABUSES: dict[Try, int] = {
    guess: 2, try_list: 2, try_list_everywhere: 6, sign_up: 2, come_and_go: 2, activate: 2, forge: 2, break_in: 2,
    dawdle: 100,
}  # fmt: skip


def abuse(target: Target, duration_s: float) -> dict[str, Counter[int]]:
    """Let all of them loose for a time, and return which answers each kind of abuse got how often; 0: none."""
    return asyncio.run(_loose(target, time.monotonic() + duration_s))


async def _loose(target: Target, until: float) -> dict[str, Counter[int]]:
    tallies: dict[str, Counter[int]] = {each.__name__: Counter() for each in ABUSES}
    await asyncio.gather(
        *(_one(each, target, until, tallies[each.__name__]) for each, many in ABUSES.items() for _ in range(many))
    )
    return tallies


async def _one(each: Try, target: Target, until: float, tally: Counter[int]) -> None:
    async with Caller(target.port) as caller:
        while (left_s := until - time.monotonic()) > 0:
            try:
                answer = await asyncio.wait_for(each(caller, target), left_s)
            except TimeoutError:
                return
            tally[answer.status] += 1
