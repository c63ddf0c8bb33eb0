"""The anti-fraud service fails again and again: a process asks no more for a while, and says so."""

import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import redis

from promo_api.antifraud import Antifraud
from promo_api.sandbox.processes import wait_until
from tests.antifraud_control import HOUR_MS, Member, StandIn

Make = Callable[..., Antifraud]
HERE = f"{socket.gethostname()}:{os.getpid()}"


def _events(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the names of the events of breakers in the log."""
    names = [record.getMessage() for record in caplog.records]
    return [name for name in names if name.startswith("antifraud_breaker")]


def _fail(antifraud: Antifraud, stand_in: StandIn, attempts: int) -> None:
    """Let attempts of as many users fail."""
    for _ in range(attempts):
        member = Member()
        stand_in.answers(member, status=503)
        assert (member.tries(antifraud), stand_in.calls(member)) == (False, 2)


def _open(antifraud: Antifraud, stand_in: StandIn) -> Antifraud:
    _fail(antifraud, stand_in, 1)
    assert antifraud._breaker.refuses()
    return antifraud


def _cool_down(antifraud: Antifraud) -> None:
    assert wait_until(lambda: not antifraud._breaker.refuses(), 5)


@pytest.fixture
def opened(antifrauds: Make, stand_in: StandIn) -> Antifraud:
    """A process that has just begun not to ask for an hour."""
    return _open(antifrauds(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=3600), stand_in)


def test_opens_after_so_many_attempts(antifrauds: Make, stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    """After three attempts of two calls each nobody is called any more, for whatever user; the log says so, once."""
    antifraud = antifrauds(antifraud_breaker_failures=3, antifraud_breaker_cooldown_s=3600)
    _fail(antifraud, stand_in, 2)
    assert _events(caplog) == []
    _fail(antifraud, stand_in, 1)
    others = [Member() for _ in range(3)]
    assert not any(member.tries(antifraud) for member in others)
    assert stand_in.calls(*others) == 0
    assert _events(caplog) == ["antifraud_breaker_open"]


def test_only_attempts_without_an_answer_count(antifrauds: Make, stand_in: StandIn) -> None:
    """A no is an answer, and so is a yes of the second call; a kept verdict is no attempt at all."""
    antifraud = antifrauds(antifraud_breaker_failures=2)
    kept, refused, second = Member(), Member(), Member()
    stand_in.answers(kept, cache_ms=HOUR_MS)
    stand_in.answers(refused, ok=False)
    stand_in.answers(second, fail_next=1)
    assert kept.tries(antifraud)
    _fail(antifraud, stand_in, 1)
    assert not refused.tries(antifraud)
    _fail(antifraud, stand_in, 1)
    assert second.tries(antifraud)
    _fail(antifraud, stand_in, 1)
    assert kept.tries(antifraud)
    assert not antifraud._breaker.refuses()
    _fail(antifraud, stand_in, 1)
    assert antifraud._breaker.refuses()


@pytest.mark.parametrize("ok", [True, False])
def test_kept_verdicts_count(antifrauds: Make, stand_in: StandIn, opened: Antifraud, ok: bool) -> None:
    """While a process does not ask, verdicts that hold are the answer as ever."""
    member = Member()
    stand_in.answers(member, ok=ok, cache_ms=HOUR_MS)
    assert [member.tries(antifrauds()), member.tries(opened)] == [ok, ok]
    assert stand_in.calls(member) == 1


def test_refusal_waits_for_nobody(
    stand_in: StandIn, opened: Antifraud, cache: "redis.Redis", sent_to_redis: list[str]
) -> None:
    """A process that does not ask does not take a turn either, nor wait for one: it only looks for a verdict."""
    free, taken = Member(), Member()
    cache.set(taken.turn_key, "somebody", px=HOUR_MS)
    sent_to_redis.clear()
    assert not any(member.tries(opened) for member in (free, taken))
    assert sent_to_redis == ["GET", "GET"]
    assert stand_in.calls(free, taken) == 0


def test_who_waits_is_refused_when_it_opens(
    antifrauds: Make, stand_in: StandIn, cache: "redis.Redis", waiting: set[str]
) -> None:
    """An attempt that waits for its turn while the process gives up asking waits no longer."""
    antifraud = antifrauds(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=3600)
    member = Member()
    cache.set(member.turn_key, "somebody", px=HOUR_MS)
    with ThreadPoolExecutor(1) as threads:
        attempt = threads.submit(member.tries, antifraud)
        assert wait_until(lambda: bool(waiting), 5)
        _open(antifraud, stand_in)
        assert attempt.result(5) is False
    assert stand_in.calls(member) == 0


def test_one_probe_at_a_time(antifrauds: Make, stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    """After the cool-down one attempt asks, and all others are refused until it has its answer; then all is well."""
    antifraud = _open(antifrauds(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=0.05), stand_in)
    caplog.set_level(logging.INFO)
    probe, others = Member(), [Member() for _ in range(4)]
    _cool_down(antifraud)
    stand_in.answers(probe, delay_ms=600_000)
    with ThreadPoolExecutor(5) as threads:
        held = threads.submit(probe.tries, antifraud)
        assert wait_until(lambda: stand_in.calls(probe) == 1, 5)
        assert not any(threads.map(lambda member: member.tries(antifraud), others))
        assert stand_in.calls(*others) == 0
        [(process, until)] = antifraud.list_open_breakers()
        assert process == HERE
        assert until > datetime.now(UTC) + timedelta(seconds=1)
        stand_in.forget()
        assert held.result(5)
    assert all(member.tries(antifraud) for member in others)
    assert _events(caplog) == ["antifraud_breaker_open", "antifraud_breaker_closed"]
    assert antifraud.list_open_breakers() == []


def test_many_reach_for_the_probe(antifrauds: Make, stand_in: StandIn, cache: "redis.Redis") -> None:
    """Those who came for the probe and were too late leave no turn behind: another process may ask at once."""
    antifraud = _open(antifrauds(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=0.05), stand_in)
    member, probe = Member(), Member()
    _cool_down(antifraud)
    stand_in.answers(probe, delay_ms=600_000)
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(probe.tries, antifraud)
        assert wait_until(lambda: stand_in.calls(probe) == 1, 5)
        # As if it had looked at the breaker a moment before the probe began.
        antifraud._breaker.refuses = lambda: False  # type: ignore[method-assign]
        assert not member.tries(antifraud)
        assert not cache.exists(member.turn_key)
        stand_in.forget()
        assert held.result(5)
    assert stand_in.calls(member) == 0


def test_probe_that_fails(antifrauds: Make, stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    """A probe without an answer opens the breaker for another cool-down."""
    antifraud = _open(antifrauds(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=0.05), stand_in)
    _cool_down(antifraud)
    antifraud._breaker._cooldown_s = 3600
    _fail(antifraud, stand_in, 1)
    assert antifraud._breaker.refuses()
    assert not Member().tries(antifraud)
    assert _events(caplog) == ["antifraud_breaker_open"] * 2


def test_open_breaker_is_seen_from_elsewhere(antifrauds: Make, opened: Antifraud) -> None:
    """Another process sees who does not ask, and until when."""
    assert opened is not None
    [(process, until)] = antifrauds().list_open_breakers()
    assert process == HERE
    assert timedelta(seconds=3500) < until - datetime.now(UTC) <= timedelta(seconds=3600)


def test_what_dead_processes_left(antifrauds: Make, stand_in: StandIn, cache: "redis.Redis") -> None:
    """The entry of a process that died counts until its time is over, and goes when the next breaker opens."""
    antifraud = antifrauds(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=3600)
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    cache.zadd("antifraud:open-breakers", {"gone:1": now_ms - 1, "gone:2": now_ms + HOUR_MS})
    assert [process for process, _ in antifraud.list_open_breakers()] == ["gone:2"]
    _open(antifraud, stand_in)
    assert set(cache.zrange("antifraud:open-breakers", 0, -1)) == {b"gone:2", HERE.encode()}


def test_opens_without_redis(antifrauds: Make, stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    """Without Redis the breaker works as ever: only nobody else can see it."""
    antifraud = antifrauds(redis_port=1, antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=0.05)
    caplog.set_level(logging.INFO)
    _open(antifraud, stand_in)
    with pytest.raises(redis.ConnectionError):
        antifraud.list_open_breakers()
    _cool_down(antifraud)
    assert Member().tries(antifraud)
    assert _events(caplog) == ["antifraud_breaker_open", "antifraud_breaker_closed"]
    assert "antifraud_cache_unavailable" in caplog.text
