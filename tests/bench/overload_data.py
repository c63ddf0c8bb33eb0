"""The accounts, promos and comments of `python -m tests.bench.overload`."""

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
import requests

from tests.accounts import PASSWORD, Account, promo_body
from tests.bench.client import Client, Endpoint
from tests.bench.overload_abusers import Login, Site
from tests.bench.overload_clients import Request, Stream
from tests.bench.overload_samples import ACTIVATION, FEED, PING, PROFILE, SIGN_IN
from tests.e2e.server import Server

_ACCOUNTS = 10
_PROMOS = 100
_CODES = 5_000
_COMMENTS = 300_000
_CONNECTIONS = 4
_ANTIFRAUD_MS = 300
_MUCH = 100_000_000

_INSERT_COMMENTS = """
    INSERT INTO comments (promo_id, id, author_id, text, created_at)
    SELECT %(promo)s::uuid, gen_random_uuid(), (%(authors)s::uuid[])[1 + n %% 3], repeat('As good as ever. ', 6),
        now() - n * interval '1 second'
    FROM generate_series(1, %(comments)s) n
"""


def fill(server: Server, endpoint: Endpoint) -> Site:
    """Create what the abusive clients need, and return it; `endpoint` is what they connect to."""
    accounts = server.accounts
    unique, wide, flooding = (accounts.sign_up_company() for _ in range(3))
    busy, abused = (accounts.sign_up_company().create_promo(max_count=_MUCH) for _ in range(2))
    user, activator, exporter, leaver = (accounts.sign_up_user() for _ in range(4))
    asyncio.run(_create(server.port, unique.token, [f"code-{number:05}" for number in range(_CODES)]))
    asyncio.run(_create(server.port, wide.token, [chr(1 + number % 31) * 30 for number in range(_CODES)]))
    _comment(server, busy, [exporter, leaver, user])
    slow = {"user_email": activator.email, "delay_ms": _ANTIFRAUD_MS}
    steered = requests.put(f"http://{server.environment['ANTIFRAUD_ADDRESS']}/stub/behaviour", json=slow, timeout=10)
    steered.raise_for_status()
    logins = (Login(account.email, account.token) for account in (user, activator, exporter, leaver))
    return Site(endpoint, unique.token, wide.token, flooding.token, busy, abused, *logins)


def streams(server: Server, busy_promo: str) -> tuple[Stream, ...]:
    """Sign up honest clients, and return their requests."""
    accounts = server.accounts
    reader = accounts.sign_up_user()
    promos = [busy_promo, accounts.sign_up_company().create_promo(max_count=_MUCH)]
    activators = [accounts.sign_up_user() for _ in range(_ACCOUNTS)]
    credentials = [{"email": accounts.sign_up_user().email, "password": PASSWORD} for _ in range(_ACCOUNTS)]
    # Each user activates each of the promos.
    activations = tuple(
        Request("POST", f"/user/promo/{promo}/activate", user.token) for promo in promos for user in activators
    )
    ping = (Request("GET", "/ping"),)
    return (
        Stream(PING, 0.05, ping, is_fresh=True),
        Stream(PING, 0.05, ping),
        Stream(PROFILE, 0.05, (Request("GET", "/user/profile", reader.token),)),
        Stream(ACTIVATION, 0.05, activations),
        Stream(SIGN_IN, 0.2, tuple(Request("POST", "/user/auth/sign-in", "", body) for body in credentials)),
        Stream(FEED, 0.1, (Request("GET", "/user/feed?active=true", reader.token),)),
    )


async def _create(port: int, token: str, codes: list[str]) -> None:
    body: dict[str, Any] = promo_body(promo_unique=codes)
    numbers = iter(range(_PROMOS))

    async def some() -> None:
        async with Client(port) as client:
            for _ in numbers:
                response = await client.request("POST", "/business/promo", body, token=token)
                if response.status != 201:
                    raise RuntimeError(f"The server responded with status {response.status}: {response.body!r}")

    await asyncio.gather(*(some() for _ in range(_CONNECTIONS)))


def _comment(server: Server, promo: str, authors: Sequence[Account]) -> None:
    environment = server.environment
    values: dict[str, Any] = {"promo": promo, "comments": _COMMENTS}
    with psycopg.connect(
        host=environment["POSTGRES_HOST"],
        port=environment["POSTGRES_PORT"],
        user=environment["POSTGRES_USERNAME"],
        dbname=environment["POSTGRES_DATABASE"],
        autocommit=True,
    ) as connection:
        ids = [
            connection.execute("SELECT id FROM users WHERE email = %s", [author.email]).fetchone() for author in authors
        ]
        connection.execute(_INSERT_COMMENTS, values | {"authors": [row[0] for row in ids if row is not None]})
        connection.execute("UPDATE promo_counters SET comment_count = %(comments)s WHERE promo_id = %(promo)s", values)
        connection.execute("VACUUM ANALYZE comments")
