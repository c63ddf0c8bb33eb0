"""The circuit breaker of the anti-fraud service: after repeated failures a process stops calling it for a while."""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest
import redis

from promo_api.antifraud.checks import Antifraud
from promo_api.dev.processes import wait_until
from tests.antifraud_control import HOUR_MS, AntifraudControl, AntifraudUser

Make = Callable[..., Antifraud]
HERE = f"{socket.gethostname()}:{os.getpid()}"


def _events(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the logged events of circuit breakers."""
    names = [record.getMessage() for record in caplog.records]
    return [name for name in names if name.startswith("antifraud_breaker")]


def _fail(antifraud: Antifraud, antifraud_control: AntifraudControl, attempts: int) -> None:
    """Let attempts fail, each of another user."""
    for _ in range(attempts):
        member = AntifraudUser()
        antifraud_control.set_behaviour(member, status=503)
        assert (member.is_allowed_by(antifraud), antifraud_control.count_calls(member)) == (False, 2)


def _open(antifraud: Antifraud, antifraud_control: AntifraudControl) -> Antifraud:
    """Open the circuit breaker. Its clock stands still until `_cool_down`."""
    antifraud._breaker._clock = lambda: 0.0
    _fail(antifraud, antifraud_control, 1)
    assert antifraud._breaker.refuses()
    return antifraud


def _cool_down(antifraud: Antifraud) -> None:
    antifraud._breaker._clock = monotonic
    assert wait_until(lambda: not antifraud._breaker.refuses(), 5)


@contextmanager
def _probing(antifraud: Antifraud, antifraud_control: AntifraudControl) -> Iterator[None]:
    """Wait for the cool-down, and start a probe that takes until the end of the block and succeeds."""
    probe = AntifraudUser()
    _cool_down(antifraud)
    antifraud_control.set_behaviour(probe, delay_ms=600_000)
    with ThreadPoolExecutor(1) as threads:
        attempt = threads.submit(probe.is_allowed_by, antifraud)
        assert wait_until(lambda: antifraud_control.count_calls(probe) == 1, 5)
        try:
            yield
        finally:
            antifraud_control.reset()
        assert attempt.result(5)


@pytest.fixture
def opened(make_antifraud: Make, antifraud_control: AntifraudControl) -> Antifraud:
    """A process whose circuit breaker is open for an hour."""
    return _open(make_antifraud(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=3600), antifraud_control)


def test_opens_after_failed_attempts(
    make_antifraud: Make, antifraud_control: AntifraudControl, caplog: pytest.LogCaptureFixture
) -> None:
    """After three attempts of two calls each the service is not called for any user. This is logged once."""
    antifraud = make_antifraud(antifraud_breaker_failures=3, antifraud_breaker_cooldown_s=3600)
    _fail(antifraud, antifraud_control, 2)
    assert _events(caplog) == []
    _fail(antifraud, antifraud_control, 1)
    others = [AntifraudUser() for _ in range(3)]
    assert not any(member.is_allowed_by(antifraud) for member in others)
    assert antifraud_control.count_calls(*others) == 0
    assert _events(caplog) == ["antifraud_breaker_opened"]


def test_only_attempts_without_a_verdict_count(make_antifraud: Make, antifraud_control: AntifraudControl) -> None:
    """A denial and a verdict of the second call are successes. A cached verdict is not an attempt."""
    antifraud = make_antifraud(antifraud_breaker_failures=2)
    cached, refused, second = AntifraudUser(), AntifraudUser(), AntifraudUser()
    antifraud_control.set_behaviour(cached, cache_ms=HOUR_MS)
    antifraud_control.set_behaviour(refused, ok=False)
    antifraud_control.set_behaviour(second, fail_next=1)
    assert cached.is_allowed_by(antifraud)
    _fail(antifraud, antifraud_control, 1)
    assert not refused.is_allowed_by(antifraud)
    _fail(antifraud, antifraud_control, 1)
    assert second.is_allowed_by(antifraud)
    _fail(antifraud, antifraud_control, 1)
    assert cached.is_allowed_by(antifraud)
    assert not antifraud._breaker.refuses()
    _fail(antifraud, antifraud_control, 1)
    assert antifraud._breaker.refuses()


@pytest.mark.parametrize("ok", [True, False])
def test_cached_verdicts_apply(
    make_antifraud: Make, antifraud_control: AntifraudControl, opened: Antifraud, ok: bool
) -> None:
    """While the circuit breaker is open, cached verdicts still apply."""
    member = AntifraudUser()
    antifraud_control.set_behaviour(member, ok=ok, cache_ms=HOUR_MS)
    assert [member.is_allowed_by(make_antifraud()), member.is_allowed_by(opened)] == [ok, ok]
    assert antifraud_control.count_calls(member) == 1


def test_denial_is_immediate(
    antifraud_control: AntifraudControl, opened: Antifraud, cache: "redis.Redis", sent_to_redis: list[str]
) -> None:
    """While the circuit breaker is open, an attempt only reads the cached verdict. It waits for no lease."""
    free, taken = AntifraudUser(), AntifraudUser()
    cache.set(taken.lease_key, "somebody", px=HOUR_MS)
    sent_to_redis.clear()
    assert not any(member.is_allowed_by(opened) for member in (free, taken))
    assert sent_to_redis == ["GET", "GET"]
    assert antifraud_control.count_calls(free, taken) == 0


def test_waiting_attempt_is_denied(
    make_antifraud: Make, antifraud_control: AntifraudControl, cache: "redis.Redis", waiting_leases: set[str]
) -> None:
    """An attempt that waits for its lease is denied when the circuit breaker opens."""
    antifraud = make_antifraud(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=3600)
    member = AntifraudUser()
    cache.set(member.lease_key, "somebody", px=HOUR_MS)
    with ThreadPoolExecutor(1) as threads:
        attempt = threads.submit(member.is_allowed_by, antifraud)
        assert wait_until(lambda: bool(waiting_leases), 5)
        _open(antifraud, antifraud_control)
        assert attempt.result(5) is False
    assert antifraud_control.count_calls(member) == 0


def test_one_probe_at_a_time(
    make_antifraud: Make, antifraud_control: AntifraudControl, caplog: pytest.LogCaptureFixture
) -> None:
    """After the cool-down one attempt calls the service. All others are denied until it succeeds."""
    antifraud = _open(
        make_antifraud(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=0.05), antifraud_control
    )
    caplog.set_level(logging.INFO)
    others = [AntifraudUser() for _ in range(4)]
    with _probing(antifraud, antifraud_control), ThreadPoolExecutor(4) as threads:
        assert not any(threads.map(lambda member: member.is_allowed_by(antifraud), others))
        assert antifraud_control.count_calls(*others) == 0
        [(process, until)] = antifraud.list_open_breakers()
        assert process == HERE
        assert until > datetime.now(UTC) + timedelta(seconds=1)
    assert all(member.is_allowed_by(antifraud) for member in others)
    assert _events(caplog) == ["antifraud_breaker_opened", "antifraud_breaker_closed"]
    assert antifraud.list_open_breakers() == []


def test_late_attempts_leave_no_lease(
    make_antifraud: Make,
    antifraud_control: AntifraudControl,
    cache: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An attempt that comes too late to be the probe releases its lease, so another process can call at once."""
    antifraud = _open(
        make_antifraud(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=0.05), antifraud_control
    )
    member = AntifraudUser()
    with _probing(antifraud, antifraud_control):
        # As if the attempt had checked the breaker just before the probe began.
        monkeypatch.setattr(antifraud._breaker, "refuses", lambda: False)
        assert not member.is_allowed_by(antifraud)
        assert not cache.exists(member.lease_key)
    assert antifraud_control.count_calls(member) == 0


def test_probe_that_fails(
    make_antifraud: Make, antifraud_control: AntifraudControl, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed probe opens the circuit breaker for another cool-down."""
    antifraud = _open(
        make_antifraud(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=0.05), antifraud_control
    )
    _cool_down(antifraud)
    antifraud._breaker._cooldown_s = 3600
    _fail(antifraud, antifraud_control, 1)
    assert antifraud._breaker.refuses()
    assert not AntifraudUser().is_allowed_by(antifraud)
    assert _events(caplog) == ["antifraud_breaker_opened"] * 2


def test_open_breaker_is_visible_elsewhere(make_antifraud: Make, opened: Antifraud) -> None:
    """Another process can list the open circuit breakers and when they end."""
    assert opened is not None
    [(process, until)] = make_antifraud().list_open_breakers()
    assert process == HERE
    assert timedelta(seconds=3500) < until - datetime.now(UTC) <= timedelta(seconds=3600)


def test_entries_of_dead_processes(
    make_antifraud: Make, antifraud_control: AntifraudControl, cache: "redis.Redis"
) -> None:
    """The entry of a dead process is listed until it expires. The next open breaker deletes it."""
    antifraud = make_antifraud(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=3600)
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    cache.zadd("antifraud:open-breakers", {"gone:1": now_ms - 1, "gone:2": now_ms + HOUR_MS})
    assert [process for process, _ in antifraud.list_open_breakers()] == ["gone:2"]
    _open(antifraud, antifraud_control)
    assert set(cache.zrange("antifraud:open-breakers", 0, -1)) == {b"gone:2", HERE.encode()}


def test_opens_without_redis(
    make_antifraud: Make, antifraud_control: AntifraudControl, caplog: pytest.LogCaptureFixture
) -> None:
    """Without Redis the circuit breaker works, but other processes cannot see it."""
    antifraud = make_antifraud(redis_port=1, antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=0.05)
    caplog.set_level(logging.INFO)
    _open(antifraud, antifraud_control)
    with pytest.raises(redis.ConnectionError):
        antifraud.list_open_breakers()
    _cool_down(antifraud)
    assert AntifraudUser().is_allowed_by(antifraud)
    assert _events(caplog) == ["antifraud_breaker_opened", "antifraud_breaker_closed"]
    assert "antifraud_cache_unavailable" in caplog.text
