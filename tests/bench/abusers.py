"""Abusive clients for `python -m tests.bench.abuse`, which send requests as fast as they can."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple

import jwt

import promo_api.contract  # noqa: F401 hides warnings of the imports below
from tests.accounts import PASSWORD, user_body
from tests.bench.client import Client, Response

_WRONG_PASSWORD = "Wr0ng!word"
# All addresses are reserved for documentation (RFC 5737).
_ONE_ADDRESS = "203.0.113.7"
_SLOW_BYTES = 100
_SLOW_PAUSE_S = 1.0
_random = Random(7)  # noqa: S311 the same abuse in each run


class Target(NamedTuple):
    """What the abusers know: the port, the e-mail address and the token of two users, and a promo."""

    port: int
    email: str
    token: str
    promo_id: str


Abuse = Callable[[Client, Target], Awaitable[Response]]


def _random_address() -> str:
    return f"198.51.{_random.randrange(256)}.{_random.randrange(256)}"


def _random_email() -> str:
    return f"unknown{_random.randrange(10**9)}@example.org"


async def _sign_in(client: Client, email: str, address: str) -> Response:
    return await client.request(
        "POST", "/user/auth/sign-in", {"email": email, "password": _WRONG_PASSWORD}, address=address
    )


def _post(content: bytes) -> bytes:
    head = "POST /api/user/auth/sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


_MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /api/ping HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    b"GET /api/" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    _post(b"[" * 100_000),
    _post(json.dumps([1.5] * 200_000).encode()),
    _post(b'{"email": "\xff\xfe"}'),
    _post(b'{"email": 1' + b"0" * 50_000 + b"}"),
]


async def guess_password(client: Client, target: Target) -> Response:
    """Guess the password of one account, from many addresses."""
    return await _sign_in(client, target.email, _random_address())


async def stuff_credentials(client: Client, _target: Target) -> Response:
    """Try leaked credentials, from one address."""
    return await _sign_in(client, _random_email(), _ONE_ADDRESS)


async def stuff_credentials_distributed(client: Client, _target: Target) -> Response:
    """Try leaked credentials, from many addresses."""
    return await _sign_in(client, _random_email(), _random_address())


async def sign_up(client: Client, _target: Target) -> Response:
    """Create accounts, from one address."""
    return await client.request(
        "POST", "/user/auth/sign-up", user_body() | {"email": _random_email()}, address=_ONE_ADDRESS
    )


async def create_and_delete(client: Client, target: Target) -> Response:
    """Create an account, activate a promo and delete the account, from many addresses."""
    address = _random_address()
    response = await client.request(
        "POST", "/user/auth/sign-up", user_body() | {"email": _random_email()}, address=address
    )
    if response.status != 200:
        return response
    token = response.json["token"]
    await client.request("POST", f"/user/promo/{target.promo_id}/activate", token=token, address=address)
    return await client.request("DELETE", "/user/profile", {"password": PASSWORD}, token=token, address=address)


async def activate(client: Client, target: Target) -> Response:
    """Activate one promo repeatedly."""
    return await client.request("POST", f"/user/promo/{target.promo_id}/activate", token=target.token)


async def forge_token(client: Client, target: Target) -> Response:
    """Send a forged token of one of several kinds."""
    header, payload, signature = target.token.split(".")
    claims = jwt.decode(target.token, options={"verify_signature": False})
    forged = _random.choice(
        [
            jwt.encode(claims, key="", algorithm="none"),
            jwt.encode(claims, key="the key of another service, 32 bytes", algorithm="HS256"),
            jwt.encode(claims | {"exp": 2**33}, key="0" * 32, algorithm="HS256"),
            f"{header}.{payload}.{signature[::-1]}",
            f"{header}.{payload}.",
            "x" * 4000,
        ]
    )
    return await client.request("GET", "/user/profile", token=forged)


async def send_malformed(client: Client, _target: Target) -> Response:
    """Send malformed or oversized requests."""
    return await client.send(_random.choice(_MALFORMED))


async def send_slowly(client: Client, _target: Target) -> Response:
    """Send a request byte by byte, and keep the connection until the server closes it."""
    head = _post(b"x" * _SLOW_BYTES)[:-_SLOW_BYTES]
    return await client.send(head, *[b"x"] * _SLOW_BYTES, pause_s=_SLOW_PAUSE_S)


# The number of concurrent clients of each kind.
ABUSES: dict[Abuse, int] = {
    guess_password: 2, stuff_credentials: 2, stuff_credentials_distributed: 6, sign_up: 2, create_and_delete: 2,
    activate: 2, forge_token: 2, send_malformed: 2, send_slowly: 100,
}  # fmt: skip


def run_abusers(target: Target, duration_s: float) -> dict[str, Counter[int]]:
    """Run all abusers, and count the statuses of their responses by kind; 0: no response."""
    return asyncio.run(_run_all(target, time.monotonic() + duration_s))


async def _run_all(target: Target, until: float) -> dict[str, Counter[int]]:
    tallies: dict[str, Counter[int]] = {each.__name__: Counter() for each in ABUSES}
    await asyncio.gather(
        *(_run_one(each, target, until, tallies[each.__name__]) for each, count in ABUSES.items() for _ in range(count))
    )
    return tallies


async def _run_one(each: Abuse, target: Target, until: float, tally: Counter[int]) -> None:
    async with Client(target.port) as client:
        while (left_s := until - time.monotonic()) > 0:
            try:
                response = await asyncio.wait_for(each(client, target), left_s)
            except TimeoutError:
                return
            tally[response.status] += 1
