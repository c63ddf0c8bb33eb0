"""The bridge: handlers in threads, so many at once and no more; the event loop waits for none of them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Barrier, Event, Lock, Thread, current_thread
from typing import Any

import pytest
from starlette.types import ASGIApp

from promo_api.contract import bridge as bridge_module
from promo_api.contract.bridge import Lanes, ThreadBridge
from promo_api.sandbox.processes import wait_until
from tests.contract.asgi import ask
from tests.contract.tiny import contract, operation, serve

StartResponse = Callable[[str, list[tuple[str, str]]], object]
_word: ContextVar[str] = ContextVar("_word", default="none")


def _scope() -> dict[str, Any]:
    return {"type": "http", "method": "GET", "scheme": "http", "extensions": {}}


async def _answer(bridge: ThreadBridge | Lanes, extensions: dict[str, Any] | None = None) -> list[Any]:
    messages: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body has been read before")

    async def send(message: Any) -> None:
        messages.append(message)

    await bridge(_scope() | {"extensions": extensions or {}}, receive, send)
    return messages


def _run(wsgi: Callable[..., Iterable[bytes]], *, requests: int = 1, threads: int = 2) -> list[list[Any]]:
    async def together() -> list[list[Any]]:
        return await asyncio.gather(*(_answer(bridge) for _ in range(requests)))

    bridge = ThreadBridge(wsgi, threads)
    try:
        return asyncio.run(together())
    finally:
        bridge.close()


def test_answer_goes_in_two_messages() -> None:
    """Status and headers, then the whole body."""

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        start("201 Created", [("X-Name", "caf\xe9")])
        return [b"a", b"", b"b"]

    started, sent = _run(wsgi)[0]
    assert started == {"type": "http.response.start", "status": 201, "headers": [(b"x-name", b"caf\xe9")]}
    assert sent == {"type": "http.response.body", "body": b"ab"}


def test_scope_is_within_reach() -> None:
    """Flask sees the method but not the path, which routing has read; a view can reach the scope."""
    seen: list[dict[str, Any]] = []

    def wsgi(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        seen.append(environ)
        start("200 OK", [])
        return []

    _run(wsgi)
    assert (seen[0]["REQUEST_METHOD"], seen[0]["PATH_INFO"]) == ("GET", "/")
    assert seen[0]["asgi.scope"] == _scope()


def test_so_many_at_once_and_no_more() -> None:
    """Two threads serve two requests at once, the others wait for them."""
    pairs, lock = Barrier(2, timeout=10), Lock()
    running, most, threads = 0, 0, Counter[Thread]()

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            threads[current_thread()] += 1
        pairs.wait()
        with lock:
            running -= 1
        start("200 OK", [])
        return []

    assert len(_run(wsgi, requests=6)) == 6
    assert most == 2
    assert len(threads) == 2
    assert all(thread.name == "handler" for thread in threads)


def _turns(pairs: Barrier, most: list[int]) -> Callable[..., Iterable[bytes]]:
    """Return what answers once so many are in it as the barrier wants, and notes the most that ever were."""
    lock, running = Lock(), [0]

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        with lock:
            running[0] += 1
            most.append(running[0])
        pairs.wait()
        with lock:
            running[0] -= 1
        start("200 OK", [])
        return []

    return wsgi


def test_few_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as none is held up three threads serve all requests, however many there may be."""
    monkeypatch.setattr(bridge_module, "_HELD_UP_S", 60)
    most: list[int] = []
    assert len(_run(_turns(Barrier(3, timeout=10), most), requests=12, threads=8)) == 12
    assert max(most) == 3


def test_others_run_beside_those_that_are_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """For those that are held up other threads are started, up to the most; and ended when they are too many."""
    monkeypatch.setattr(bridge_module, "_HELD_UP_S", 0.01)
    most: list[int] = []
    everyone = Barrier(8, timeout=10)
    bridge = ThreadBridge(_turns(everyone, most), 8)

    async def together(requests: int) -> None:
        await asyncio.gather(*(_answer(bridge) for _ in range(requests)))

    async def first_many_then_one_by_one() -> None:
        await together(8)
        assert len(bridge._threads) == 8
        bridge._wsgi_app = _turns(Barrier(1), [])
        for _ in range(8):
            await together(1)

    try:
        asyncio.run(first_many_then_one_by_one())
        assert max(most) == 8
        assert wait_until(lambda: sum(thread.is_alive() for thread in bridge._threads) == 3, 10)
    finally:
        bridge.close()


def test_lanes_do_not_wait_for_each_other() -> None:
    """Where all threads of a lane are taken, requests of another lane are answered."""
    taken, go_on = Barrier(3, timeout=10), Event()

    def wsgi(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        if environ["asgi.scope"]["extensions"]["connexion_routing"]["operation_id"] == "slow":
            taken.wait()
            assert go_on.wait(10)
        start("200 OK", [])
        return []

    async def ask(app: Lanes, operation_id: str) -> list[Any]:
        return await _answer(app, {"connexion_routing": {"operation_id": operation_id}})

    async def together(app: Lanes) -> None:
        slow = [asyncio.create_task(ask(app, "slow")) for _ in range(2)]
        await asyncio.to_thread(taken.wait)
        assert (await ask(app, "quick"))[0]["status"] == 200
        assert not any(task.done() for task in slow)
        go_on.set()
        await asyncio.gather(*slow)

    bridges = {"": ThreadBridge(wsgi, 1), "waiting": ThreadBridge(wsgi, 2)}
    try:
        asyncio.run(together(Lanes(bridges, {"quick": "", "slow": "waiting"})))
    finally:
        for bridge in bridges.values():
            bridge.close()


def test_context_reaches_the_thread() -> None:
    """What the event loop knows of a request, its handler knows too."""
    words: list[str] = []

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        words.append(_word.get())
        start("200 OK", [])
        return []

    token = _word.set("of this request")
    try:
        _run(wsgi)
    finally:
        _word.reset(token)
    assert words == ["of this request"]


class _Closing(list[bytes]):
    """An answer that wants to be closed."""

    closed = False

    def close(self) -> None:
        """Note that it was."""
        self.closed = True


def test_answer_is_closed() -> None:
    """An answer that holds something is closed when it has been read."""
    body = _Closing([b"x"])

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        start("200 OK", [])
        return body

    _run(wsgi)
    assert body.closed


def test_exceptions_come_out() -> None:
    """What a handler raises is raised on the event loop's side, for the layer to answer."""

    def wsgi(_environ: dict[str, Any], _start: StartResponse) -> Iterable[bytes]:
        raise LookupError("as it was")

    with pytest.raises(LookupError, match="as it was"):
        _run(wsgi)


def test_end_of_an_iterator_comes_out() -> None:
    """Not even the one exception that a future can't carry leaves a request without an answer."""

    def wsgi(_environ: dict[str, Any], _start: StartResponse) -> Iterable[bytes]:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        _run(wsgi)


def test_thread_survives_who_went_away() -> None:
    """A request that is given up while its handler runs costs no thread."""
    entered, leave = Event(), Event()

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        entered.set()
        assert leave.wait(10)
        start("200 OK", [])
        return []

    async def given_up(bridge: ThreadBridge) -> None:
        task = asyncio.create_task(_answer(bridge))
        assert await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    bridge = ThreadBridge(wsgi, 1)
    try:
        asyncio.run(given_up(bridge))
        leave.set()
        assert len(asyncio.run(_answer(bridge))) == 2
    finally:
        bridge.close()


async def _lifespan(app: ASGIApp) -> list[str]:
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    return sent


def test_lifetime_of_the_service(tmp_path: Path) -> None:
    """What surrounds the service begins with it, not when it is built, and ends once it has ended."""
    told: list[str] = []

    @contextmanager
    def lifetime() -> Iterator[None]:
        told.append("begun")
        yield
        told.append("ended")

    app = serve(tmp_path / "api.yml", contract({"/x": {"get": operation()}}), lifetime=lifetime)
    assert ask(app, "GET", "/api/x").status == 200
    assert told == []
    assert asyncio.run(_lifespan(app)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert told == ["begun", "ended"]
