"""One attempt per user calls the anti-fraud service at a time, in all processes, and every lease expires."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from logging import WARNING
from uuid import UUID

import pytest
import redis
from redis.crc import key_slot

from promo_api.antifraud.checks import Antifraud
from promo_api.antifraud.client import NoVerdict, Verdict
from promo_api.antifraud.verdict_cache import Decision, Lease
from promo_api.config.settings import Settings
from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.dev.processes import wait_until
from tests.antifraud_control import HOUR_MS, AntifraudControl, AntifraudUser
from tests.race.interleaving import together

ATTEMPTS = 12
Make = Callable[..., Antifraud]


def _attempts(member: AntifraudUser, processes: list[Antifraud]) -> list[Callable[[], bool]]:
    """Return attempts of one user, distributed over the processes."""
    return [
        lambda process=process: member.is_allowed_by(process) for process, _ in zip(cycle(processes), range(ATTEMPTS))
    ]


@pytest.mark.parametrize("ok", [True, False])
def test_cached_verdict_takes_one_call(
    antifraud_control: AntifraudControl, make_antifraud: Make, waiting_leases: set[str], ok: bool
) -> None:
    """Of many concurrent attempts in two processes, one calls the service, and the others wait for its verdict."""
    member, processes = AntifraudUser(), [make_antifraud(), make_antifraud()]
    antifraud_control.set_behaviour(member, ok=ok, cache_ms=HOUR_MS, delay_ms=600_000)
    with ThreadPoolExecutor(ATTEMPTS) as threads:
        attempts = [threads.submit(attempt) for attempt in _attempts(member, processes)]
        assert wait_until(lambda: len(waiting_leases) == ATTEMPTS - 1, 5)
        assert wait_until(lambda: antifraud_control.count_calls(member) == 1, 5)
        assert not any(attempt.done() for attempt in attempts)
        antifraud_control.reset()
        assert [attempt.result(10) for attempt in attempts] == [ok] * ATTEMPTS
    assert antifraud_control.count_calls(member) == 0


def test_uncached_verdicts_take_sequential_calls(antifraud_control: AntifraudControl, make_antifraud: Make) -> None:
    """Without cache_until each attempt calls the service, one at a time."""
    member, processes = AntifraudUser(), [make_antifraud(), make_antifraud()]
    antifraud_control.set_behaviour(member, delay_ms=20)
    assert together(_attempts(member, processes)) == [True] * ATTEMPTS
    assert (antifraud_control.count_calls(member), antifraud_control.max_concurrent_calls(member)) == (ATTEMPTS, 1)


def test_users_do_not_wait_for_each_other(antifraud_control: AntifraudControl, make_antifraud: Make) -> None:
    """An attempt that waits for the service does not block attempts of other users, even in the same process."""
    slow, quick, antifraud = AntifraudUser(), AntifraudUser(), make_antifraud()
    antifraud_control.set_behaviour(slow, delay_ms=600_000)
    with ThreadPoolExecutor(1) as threads:
        blocked = threads.submit(slow.is_allowed_by, antifraud)
        assert wait_until(lambda: antifraud_control.count_calls(slow) == 1, 10)
        assert quick.is_allowed_by(antifraud)
        assert not blocked.done()
        antifraud_control.reset()
        assert blocked.result(10)


def test_lease_covers_both_calls(
    antifraud_control: AntifraudControl, antifraud: EmbeddedAntifraud, make_antifraud: Make, waiting_leases: set[str]
) -> None:
    """No other attempt calls the service between the two calls of an attempt."""
    member, processes = AntifraudUser(), [make_antifraud(), make_antifraud()]
    antifraud_control.set_behaviour(member, cache_ms=HOUR_MS, delay_ms=600_000, fail_next=1, status=503)
    with ThreadPoolExecutor(ATTEMPTS) as threads:
        attempts = [threads.submit(attempt) for attempt in _attempts(member, processes)]
        assert wait_until(lambda: len(waiting_leases) == ATTEMPTS - 1, 5)
        assert wait_until(lambda: antifraud_control.count_calls(member) == 1, 5)
        antifraud._state.release_delayed_calls()
        assert all(attempt.result(10) for attempt in attempts)
    assert (antifraud_control.count_calls(member), antifraud_control.max_concurrent_calls(member)) == (2, 1)


def test_lease_of_a_dead_process_expires(
    antifraud_control: AntifraudControl, make_antifraud: Make, cache: "redis.Redis"
) -> None:
    """A process that dies with a lease blocks other attempts for the length of one call and a second."""
    member, dying, living = AntifraudUser(), make_antifraud(antifraud_read_timeout_s=0.1), make_antifraud()
    assert dying._verdicts.acquire(Lease(member.user_id)) is Decision.ASK
    assert 0 < cache.pttl(member.lease_key) <= 2100
    assert living._verdicts.acquire(Lease(member.user_id)) is Decision.WAIT
    assert (member.is_allowed_by(living), antifraud_control.count_calls(member)) == (True, 1)


def test_default_timeout_exceeds_the_lease(make_antifraud: Make, settings: Settings, cache: "redis.Redis") -> None:
    """With the default settings an attempt waits longer than a dead process blocks it."""
    member, limits = AntifraudUser(), (settings.antifraud_connect_timeout_s, settings.antifraud_read_timeout_s)
    dying = make_antifraud(antifraud_connect_timeout_s=limits[0], antifraud_read_timeout_s=limits[1])
    dying._verdicts.acquire(Lease(member.user_id))
    lease_s = cache.pttl(member.lease_key) / 1000
    assert sum(limits) < lease_s <= sum(limits) + 1 <= settings.antifraud_lease_timeout_s - 0.5


def test_lease_timeout(
    antifraud_control: AntifraudControl, make_antifraud: Make, cache: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    """An attempt without a lease in time is refused; it does not call the service, and the holder keeps the lease."""
    member = AntifraudUser()
    cache.set(member.lease_key, "another", px=HOUR_MS)
    assert not member.is_allowed_by(make_antifraud(antifraud_lease_timeout_s=0.1))
    assert (antifraud_control.count_calls(member), cache.get(member.lease_key)) == (0, b"another")
    logged = [(record.getMessage(), vars(record)["user_id"]) for record in caplog.records if record.levelno >= WARNING]
    assert logged == [("antifraud_lease_timeout", member.user_id)]


@pytest.mark.parametrize("verdict", [b"yes", b"no"])
def test_verdict_comes_while_waiting(
    antifraud_control: AntifraudControl,
    make_antifraud: Make,
    cache: "redis.Redis",
    waiting_leases: set[str],
    verdict: bytes,
) -> None:
    """A waiting attempt uses the verdict of another attempt as soon as it is cached."""
    member, antifraud = AntifraudUser(), make_antifraud()
    cache.set(member.lease_key, "another", px=HOUR_MS)
    with ThreadPoolExecutor(1) as threads:
        attempt = threads.submit(member.is_allowed_by, antifraud)
        assert wait_until(lambda: bool(waiting_leases), 5)
        cache.set(member.verdict_key, verdict, px=HOUR_MS)
        assert attempt.result(5) is (verdict == b"yes")
    assert antifraud_control.count_calls(member) == 0


@pytest.mark.parametrize("successor_verdict", [None, b"no"])
def test_expired_lease_changes_nothing(
    antifraud_control: AntifraudControl, make_antifraud: Make, cache: "redis.Redis", successor_verdict: bytes | None
) -> None:
    """An attempt whose lease has expired changes neither the lease nor the verdict of its successor."""
    member, antifraud = AntifraudUser(), make_antifraud()
    antifraud_control.set_behaviour(member, cache_ms=HOUR_MS, delay_ms=600_000)
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(member.is_allowed_by, antifraud)
        assert wait_until(lambda: antifraud_control.count_calls(member) == 1, 5)
        cache.set(member.lease_key, "successor", px=HOUR_MS)
        if successor_verdict is not None:
            cache.set(member.verdict_key, successor_verdict, px=HOUR_MS)
        antifraud_control.reset()
        assert late.result(5)
    assert cache.get(member.lease_key) == b"successor"
    assert cache.get(member.verdict_key) == (successor_verdict or b"yes")


class _FakeClient:
    """An anti-fraud client with prepared results, which calls a function between the two calls of an attempt."""

    def __init__(self, between: Callable[[], object], *results: Verdict | Exception) -> None:
        self._between = between
        self._results = list(results)
        self.calls = 0

    def ask(self, _email: str, _promo_id: UUID) -> Verdict:
        """Return or raise the next result."""
        result = self._results[self.calls]
        self.calls += 1
        if isinstance(result, Exception):
            self._between()
            raise result
        return result

    def close(self) -> None:
        """Do nothing."""


def _replace_client(antifraud: Antifraud, between: Callable[[], object], *results: Verdict | Exception) -> _FakeClient:
    antifraud.close()
    antifraud._client = client = _FakeClient(between, *results)  # type: ignore[assignment]
    return client


YES = Verdict(ok=True, valid_until=None)


def test_second_call_renews_the_lease(make_antifraud: Make, cache: "redis.Redis") -> None:
    """An attempt renews its lease before its second call, so that each call has the full time."""
    member, antifraud, left_ms = AntifraudUser(), make_antifraud(), []

    def shorten() -> None:
        left_ms.append(cache.pttl(member.lease_key))
        cache.pexpire(member.lease_key, 5000)

    _replace_client(antifraud, shorten, NoVerdict(), NoVerdict())
    assert not member.is_allowed_by(antifraud)
    assert len(left_ms) == 2
    assert min(left_ms) > 30_000
    assert not cache.exists(member.lease_key)


@pytest.mark.parametrize("verdict", [b"yes", b"no"])
def test_lease_lost_before_the_second_call(
    make_antifraud: Make, cache: "redis.Redis", waiting_leases: set[str], verdict: bytes
) -> None:
    """An attempt that has lost its lease before the second call waits for the verdict of the new holder."""
    member, antifraud = AntifraudUser(), make_antifraud()
    client = _replace_client(antifraud, lambda: cache.set(member.lease_key, "successor", px=HOUR_MS), NoVerdict(), YES)
    with ThreadPoolExecutor(1) as threads:
        attempt = threads.submit(member.is_allowed_by, antifraud)
        assert wait_until(lambda: bool(waiting_leases), 5)
        cache.set(member.verdict_key, verdict, px=HOUR_MS)
        assert attempt.result(5) is (verdict == b"yes")
    assert client.calls == 1
    assert cache.get(member.lease_key) == b"successor"


def test_exception_releases_the_lease(make_antifraud: Make, cache: "redis.Redis") -> None:
    """An attempt that fails with an unexpected error releases its lease."""
    member, antifraud = AntifraudUser(), make_antifraud()
    _replace_client(antifraud, lambda: None, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        member.is_allowed_by(antifraud)
    assert not cache.exists(member.lease_key)


def test_lease_is_acquired_twice(make_antifraud: Make) -> None:
    """An attempt may acquire its lease again, as it does when the first response of Redis was lost."""
    lease, verdicts = Lease(AntifraudUser().user_id), make_antifraud()._verdicts
    assert [verdicts.acquire(lease), verdicts.acquire(lease)] == [Decision.ASK, Decision.ASK]


def test_keys_of_a_user_are_in_one_slot() -> None:
    """A Redis Cluster runs scripts on keys of one slot only."""
    member = AntifraudUser()
    assert key_slot(member.verdict_key.encode()) == key_slot(member.lease_key.encode())


def test_round_trips(antifraud_control: AntifraudControl, make_antifraud: Make, sent_to_redis: list[str]) -> None:
    """A check that calls the service takes two round trips to Redis; one with a cached verdict takes a single one."""
    member, antifraud = AntifraudUser(), make_antifraud()
    AntifraudUser().is_allowed_by(antifraud)  # loads the scripts into Redis
    sent_to_redis.clear()
    antifraud_control.set_behaviour(member, cache_ms=HOUR_MS)
    assert member.is_allowed_by(antifraud)
    assert sent_to_redis == ["EVALSHA"] * 2
    assert member.is_allowed_by(antifraud)
    assert sent_to_redis == ["EVALSHA"] * 3


def test_without_redis_there_are_no_leases(
    antifraud_control: AntifraudControl, make_antifraud: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Without Redis each attempt calls the service at once, logs a warning and uses the verdict."""
    member, antifraud = AntifraudUser(), make_antifraud(redis_port=1)
    antifraud_control.set_behaviour(member, cache_ms=HOUR_MS, delay_ms=600_000)
    with ThreadPoolExecutor(3) as threads:
        attempts = [threads.submit(member.is_allowed_by, antifraud) for _ in range(3)]
        assert wait_until(lambda: antifraud_control.count_calls(member) == 3, 5)
        assert antifraud_control.max_concurrent_calls(member) == 3
        antifraud_control.reset()
        assert all(attempt.result(5) for attempt in attempts)
    assert caplog.text.count("antifraud_cache_unavailable") == 6


@pytest.mark.parametrize(("verdict", "blocked"), [(b"no", True), (b"yes", False), (None, False), (b"maybe", False)])
def test_blocked(
    antifraud_control: AntifraudControl,
    make_antifraud: Make,
    cache: "redis.Redis",
    verdict: bytes | None,
    blocked: bool,
) -> None:
    """A user with a cached negative verdict is blocked. The check makes no call and changes nothing."""
    member, antifraud = AntifraudUser(), make_antifraud()
    if verdict is not None:
        cache.set(member.verdict_key, verdict, px=HOUR_MS)
    assert antifraud.is_blocked(member.user_id) is blocked
    assert (antifraud_control.count_calls(member), cache.get(member.verdict_key), cache.get(member.lease_key)) == (
        0,
        verdict,
        None,
    )


def test_blocked_without_redis(make_antifraud: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Without Redis no user is blocked, and a warning is logged."""
    assert not make_antifraud(redis_port=1).is_blocked(AntifraudUser().user_id)
    assert "antifraud_cache_unavailable" in caplog.text
