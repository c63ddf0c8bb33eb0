"""The limits of thread pools: full queues and long waits are refused, and no source takes all threads."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from promo_api.contract import pooled_request
from promo_api.contract.fair_queue import Source
from promo_api.contract.thread_pool import PoolLimits, ThreadPool
from promo_api.errors import Overloaded
from tests.contract.asgi import call
from tests.contract.handlers.waiting import Gate
from tests.contract.pools import BlockingApplication, Connection, StartResponse, respond, wait_for_start
from tests.contract.sample_api import contract, operation, pool_limits, serve


def test_pools_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """While all threads of a pool are blocked, another pool responds, and so does the event loop."""
    paths = {
        "/slow": {"get": operation("waiting.wait", **{"x-thread-pool": "slow"})},
        "/quick": {"get": operation()},
        "/loop": {"get": operation("waiting.thread", **{"x-thread-pool": "event-loop"})},
    }
    gate = Gate()
    app = serve(tmp_path / "api.yml", contract(paths), runtime=gate, pools={"slow": 2})

    async def together() -> None:
        slow = [asyncio.create_task(asyncio.to_thread(call, app, "GET", "/api/slow")) for _ in range(2)]
        assert await asyncio.to_thread(gate.entered.acquire, timeout=10)
        assert (await asyncio.to_thread(call, app, "GET", "/api/quick")).status == 200
        assert (await asyncio.to_thread(call, app, "GET", "/api/loop")).json() != {"thread": "handler"}
        assert not any(task.done() for task in slow)
        gate.open.set()
        assert [response.status for response in await asyncio.gather(*slow)] == [200, 200]

    asyncio.run(together())


def test_full_queue_refuses_at_once(make_pool: Callable[..., ThreadPool], refusals: Counter[tuple[str, str]]) -> None:
    """Beyond the places of the queue a request is refused before any work; those in the queue are served."""
    application = BlockingApplication()
    pool = make_pool(application, pool_limits(1, places=2))

    async def together() -> None:
        first = [asyncio.create_task(respond(pool)) for _ in range(1 + 2)]
        await wait_for_start(application, 1)
        with pytest.raises(Overloaded):
            await respond(pool)
        application.release.set()
        assert len(await asyncio.gather(*first)) == len(first)

    asyncio.run(together())
    assert refusals == {("default", "full"): 1}
    assert application.calls == 1 + 2


@pytest.mark.parametrize(("threads", "at_once"), [(1, 10), (4, 1)], ids=["threads", "share"])
def test_long_wait_is_refused(
    make_pool: Callable[..., ThreadPool], refusals: Counter[tuple[str, str]], threads: int, at_once: int
) -> None:
    """A request that waits too long, for a thread or for the share of its source, is refused and never starts."""
    application, source = BlockingApplication(), Source("one", None, at_once)
    pool = make_pool(application, pool_limits(threads, wait_s=0.1))

    async def together() -> None:
        first = asyncio.create_task(respond(pool, source))
        await wait_for_start(application, 1)
        others = [asyncio.create_task(respond(pool, source)) for _ in range(10)]
        assert all(isinstance(each, Overloaded) for each in await asyncio.gather(*others, return_exceptions=True))
        assert not first.done()
        application.release.set()
        await first

    asyncio.run(together())
    assert refusals == {("default", "timeout"): 10}
    assert application.calls == 1


def test_one_source_leaves_threads_to_others(make_pool: Callable[..., ThreadPool]) -> None:
    """A source runs only as many requests at once as it may; another source starts at once."""
    application, greedy, other = BlockingApplication(), Source("greedy", None, 2), Source("other", None, 2)
    pool = make_pool(application, pool_limits(3))

    async def together() -> None:
        tasks = [asyncio.create_task(respond(pool, greedy)) for _ in range(20)]
        await wait_for_start(application, 2)
        tasks.append(asyncio.create_task(respond(pool, other)))
        await wait_for_start(application, 1)
        assert application.calls == 3
        application.release.set()
        await asyncio.gather(*tasks)

    asyncio.run(together())


def test_prefetched_requests_have_the_same_limits(
    make_pool: Callable[..., ThreadPool], refusals: Counter[tuple[str, str]]
) -> None:
    """A request that was handed over before a thread is free is refused as well when it has waited for too long."""
    application = BlockingApplication()
    pool = make_pool(application, PoolLimits(1, 10, 10, 0.1, prefetched=2))

    async def together() -> None:
        first = asyncio.create_task(respond(pool))
        await wait_for_start(application, 1)
        others = [asyncio.create_task(respond(pool)) for _ in range(2)]
        assert all(isinstance(each, Overloaded) for each in await asyncio.gather(*others, return_exceptions=True))
        application.release.set()
        await first

    asyncio.run(together())
    assert refusals == {("default", "timeout"): 2}
    assert application.calls == 1


def test_request_of_a_closed_connection_does_not_start(make_pool: Callable[..., ThreadPool]) -> None:
    """A request whose client disconnects while it waits costs no thread, and gets no response."""
    application = BlockingApplication()
    pool = make_pool(application, pool_limits(1))
    waiting, one = Connection(), Source("one", None, 1)

    async def together() -> None:
        first = asyncio.create_task(respond(pool, one))
        await wait_for_start(application, 1)
        second = asyncio.create_task(respond(pool, one, connection=waiting))
        await asyncio.wait([second], timeout=0)
        waiting.closed = True
        application.release.set()
        assert len(await first) == 2
        assert await second == []

    asyncio.run(together())
    assert application.calls == 1


def test_share_is_held_until_a_large_response_is_read(make_pool: Callable[..., ThreadPool]) -> None:
    """The next request of a source waits until the client has read a large response; other sources do not."""

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        start("200 OK", [])
        return [b"x" * (pooled_request._SMALL_RESPONSE_BYTES + 1)]

    pool = make_pool(wsgi, pool_limits(2))
    one, two = Source("one", None, 1), Source("two", None, 1)

    async def together() -> None:
        read, sent = asyncio.Event(), asyncio.Event()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body" and not message["body"]:
                sent.set()
                await read.wait()

        slow = asyncio.create_task(respond(pool, one, send=send))
        await sent.wait()
        second = asyncio.create_task(respond(pool, one))
        assert len(await respond(pool, two)) == 3
        assert not second.done()
        read.set()
        await slow
        assert len(await second) == 3

    asyncio.run(together())


def test_share_is_released_if_a_large_response_is_cancelled(
    make_pool: Callable[..., ThreadPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is cancelled between its large response and the first byte of it does not keep its share."""

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        start("200 OK", [])
        return [b"x" * (pooled_request._SMALL_RESPONSE_BYTES + 1)]

    pool, one = make_pool(wsgi, pool_limits(1)), Source("one", None, 1)

    async def together() -> None:
        first = asyncio.create_task(respond(pool, one))
        settle = pool._settle

        def settle_and_cancel(*arguments: Any) -> None:
            settle(*arguments)
            first.cancel()

        with monkeypatch.context() as patch:
            patch.setattr(pool, "_settle", settle_and_cancel)
            with pytest.raises(asyncio.CancelledError):
                await first
        assert len(await asyncio.wait_for(respond(pool, one), 10)) == 3

    asyncio.run(together())
