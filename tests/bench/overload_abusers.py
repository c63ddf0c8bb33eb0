"""Abusive clients, each for some seconds, in a separate process."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

import promo_api.contract  # noqa: F401 it hides warnings of the imports below
from tests.accounts import PASSWORD, promo_body
from tests.bench.caller import Caller, Endpoint

LAST_OFFSET, MIDDLE_OFFSET = 299_990, 150_000
CUT = "cut"
_NONE = "no response"
_PIPELINED = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 9_700
_TIME_MAX_S = 15.0
_EXPORTED, _EXPORT_MAX_S = 100_000, 30.0
_OUTSTANDING_MAX = 400
_PIECE_BYTES = 16 * 1024


class Login(NamedTuple):
    """An account of an abusive client."""

    email: str
    token: str


class Site(NamedTuple):
    """What the abusive clients know.

    Attributes:
        endpoint: of the service.
        unique_company: token of a company with 100 promos of 5,000 codes.
        wide_company: token of a company with 100 promos whose codes are control characters.
        flooding_company: token of a company that creates promos.
        busy_promo: a promo in demand, with 300,000 comments.
        abused_promo: a promo that honest clients do not use.
        user: a user without any data.
        activator: a user about whom the anti-fraud service takes 300 ms.
        exporter: a user with 100,000 comments.
        leaver: another user with 100,000 comments.
    """

    endpoint: Endpoint
    unique_company: str
    wide_company: str
    flooding_company: str
    busy_promo: str
    abused_promo: str
    user: Login
    activator: Login
    exporter: Login
    leaver: Login


Tally = Counter[str]
Abuse = Callable[[Site, Tally], Coroutine[Any, Any, None]]


async def close_lists(site: Site, tally: Tally) -> None:
    """Ask for the list of all promos over 400 connections, and close each of them at once."""

    async def one() -> None:
        _, writer = await site.endpoint.connect()
        writer.write(_list(site.unique_company))
        writer.close()
        tally["closed"] += 1

    await _all_of(tally, (one() for _ in range(400)))


async def open_lists(site: Site, tally: Tally) -> None:
    """Ask for the list over 300 connections that stay open; a third reads nothing for four seconds."""
    request = _list(site.unique_company)
    readers = (_read(site, request, tally, late_s=0 if number % 3 else 4) for number in range(300))
    await _all_of(tally, readers)


async def read_wide_lists(site: Site, tally: Tally) -> None:
    """Read 50 lists at once whose codes take six bytes a character; every fifth client reads slowly."""
    request = _list(site.wide_company)
    await _all_of(tally, (_read(site, request, tally, pause_s=0 if number % 5 else 0.05) for number in range(50)))


async def read_deep_comments(site: Site, tally: Tally) -> None:
    """Read 1,500 pages of comments at a large offset, over 500 connections."""

    async def three(caller: Caller) -> None:
        for offset in (LAST_OFFSET, MIDDLE_OFFSET, LAST_OFFSET):
            path = f"/user/promo/{site.busy_promo}/comments?limit=100&offset={offset}"
            await _ask(caller, tally, "GET", path, site.user.token)

    await _over(site, 500, three, tally)


async def pipeline(site: Site, tally: Tally) -> None:
    """Send 9,700 requests over each of 40 connections without reading a response, in four waves."""

    async def one() -> None:
        _, writer = await site.endpoint.connect(_PIECE_BYTES)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(_PIPELINED)
        await asyncio.sleep(2)
        tally["sent" if not writer.transport.get_write_buffer_size() else "sent in part"] += 1
        writer.transport.abort()

    for _ in range(4):
        await _all_of(tally, [one() for _ in range(40)])


async def activate_at_once(site: Site, tally: Tally) -> None:
    """Activate a promo 200 times at once while the anti-fraud service is slow."""

    async def one(caller: Caller) -> None:
        await _ask(caller, tally, "POST", f"/user/promo/{site.abused_promo}/activate", site.activator.token)

    await _over(site, 200, one, tally)


async def sign_in_often(site: Site, tally: Tally) -> None:
    """Sign in to one account 150 times a second."""
    body = {"email": site.user.email, "password": PASSWORD}
    await _at_rate(site, 150, lambda caller: _ask(caller, tally, "POST", "/user/auth/sign-in", "", body), tally)


async def change_password_often(site: Site, tally: Tally) -> None:
    """Change the password of one account 150 times a second."""
    body, token = {"password": PASSWORD}, site.exporter.token
    await _at_rate(site, 150, lambda caller: _ask(caller, tally, "PATCH", "/user/profile", token, body), tally)


async def export(site: Site, tally: Tally) -> None:
    """Read all portions of the export of an account with 100,000 comments, the two halves at once."""

    async def half(caller: Caller) -> None:
        offset: int | None = next(starts)
        end = offset + _EXPORTED // 2 if offset == 0 else _EXPORTED
        while offset is not None and offset < end:
            answer = await caller.ask("GET", f"/user/export?offset={offset}", token=site.exporter.token)
            tally[str(answer.status or CUT)] += 1
            if answer.status != 200:
                return
            offset = answer.json.get("next_offset")
        tally["read to the end"] += 1

    starts = iter([0, _EXPORTED // 2])
    await _over(site, 2, half, tally, _EXPORT_MAX_S)


async def delete_account(site: Site, tally: Tally) -> None:
    """Delete an account with 100,000 comments while it likes and activates a promo in demand."""
    numbers = iter(range(9))
    token, promo = site.leaver.token, f"/user/promo/{site.busy_promo}"

    async def one(caller: Caller) -> None:
        number = next(numbers)
        if number == 0:
            await asyncio.sleep(0.5)
            await _ask(caller, tally, "DELETE", "/user/profile", token, {"password": PASSWORD})
            return
        path = f"{promo}/{'like' if number % 2 else 'activate'}"
        status = 0
        while status != 401:
            status = await _ask(caller, tally, "POST", path, token)

    await _over(site, 9, one, tally)


async def stay_idle(site: Site, tally: Tally) -> None:
    """Hold 2,300 connections open without a request, for eight seconds."""

    async def one() -> None:
        reader, writer = await site.endpoint.connect()
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), 8)
        tally["closed by the service" if reader.at_eof() else "open"] += 1
        writer.close()

    await _all_of(tally, (one() for _ in range(2_300)))


async def create_promos(site: Site, tally: Tally) -> None:
    """Create 771 promos a second that are inactive from the start."""
    body = promo_body(max_count=0)
    create = ("POST", "/business/promo", site.flooding_company, body)
    await _at_rate(site, 771, lambda caller: _ask(caller, tally, *create), tally)


def run(abuse: Abuse, site: Site) -> Tally:
    """Run an abusive client, and return how often each thing came of it."""
    tally: Tally = Counter()
    asyncio.run(abuse(site, tally))
    return tally


def _list(token: str) -> bytes:
    head = f"GET /api/business/promo?limit=100 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
    return head.encode()


async def _ask(
    caller: Caller, tally: Tally, method: str, path: str, token: str, body: dict[str, Any] | None = None
) -> int:
    status = (await caller.ask(method, path, body, token=token)).status
    tally[str(status or CUT)] += 1
    return status


async def _read(site: Site, request: bytes, tally: Tally, *, late_s: float = 0, pause_s: float = 0) -> None:
    """Read one response, `late_s` after the request, and with a pause after each piece."""
    is_slow = late_s or pause_s
    reader, writer = await site.endpoint.connect(_PIECE_BYTES if is_slow else 0)
    try:
        writer.write(request)
        await asyncio.sleep(late_s)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        left = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        while left:
            left -= len(piece := await reader.read(_PIECE_BYTES))
            if not piece:
                tally["cut after a pause" if late_s else CUT] += 1
                return
            await asyncio.sleep(pause_s)
        tally[head.split(" ")[1]] += 1
    finally:
        writer.transport.abort()


async def _over(
    site: Site,
    connections: int,
    use: Callable[[Caller], Awaitable[None]],
    tally: Tally,
    time_max_s: float = _TIME_MAX_S,
) -> None:
    """Use a number of connections at once."""

    async def one() -> None:
        async with Caller(site.endpoint) as caller:
            await use(caller)

    await _all_of(tally, [one() for _ in range(connections)], time_max_s)


async def _all_of(tally: Tally, tasks: Any, time_max_s: float = _TIME_MAX_S) -> None:
    """Run tasks for a limited time, and count the ones without a response or an end."""
    running = [asyncio.create_task(task) for task in tasks]
    _, unfinished = await asyncio.wait(running, timeout=time_max_s)
    for task in unfinished:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, asyncio.CancelledError):
            tally["unfinished"] += 1
        elif isinstance(result, OSError | EOFError):
            tally[_NONE] += 1
        elif result is not None:
            raise result


async def _at_rate(
    site: Site, per_s: int, ask: Callable[[Caller], Awaitable[object]], tally: Tally, duration_s: float = 10
) -> None:
    """Send requests at a rate, each over a free connection, and skip some while too many have no response."""
    idle: list[Caller] = []
    outstanding: set[asyncio.Task[None]] = set()

    async def one() -> None:
        caller = idle.pop() if idle else Caller(site.endpoint)
        await ask(caller)
        idle.append(caller)

    started_s = time.monotonic()
    for number in range(round(per_s * duration_s)):
        await asyncio.sleep(max(0, started_s + number / per_s - time.monotonic()))
        if time.monotonic() - started_s > duration_s:
            break
        if len(outstanding) >= _OUTSTANDING_MAX:
            tally["not sent"] += 1
            continue
        task = asyncio.create_task(one())
        outstanding.add(task)
        task.add_done_callback(outstanding.discard)
    if outstanding:
        _, unfinished = await asyncio.wait({*outstanding}, timeout=_TIME_MAX_S - duration_s)
        for task in unfinished:
            tally["unfinished"] += 1
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
    for caller in idle:
        caller.close()


def described(tally: Tally) -> str:
    """Return a tally as words for people."""
    return ", ".join(f"{what}: {times:,}" for what, times in sorted(tally.items())) or json.dumps(None)
