"""One attempt per user calls the service at a time, in all processes; no lease lasts for ever."""

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
from tests.antifraud_control import HOUR_MS, Member, StandIn
from tests.race.interleaving import together

ATTEMPTS = 12
Make = Callable[..., Antifraud]


def _attempts(member: Member, processes: list[Antifraud]) -> list[Callable[[], bool]]:
    """Return attempts of one member, in turns in each of the processes."""
    return [lambda process=process: member.tries(process) for process, _ in zip(cycle(processes), range(ATTEMPTS))]


@pytest.mark.parametrize("ok", [True, False])
def test_verdict_that_holds_is_asked_for_once(stand_in: StandIn, antifrauds: Make, waiting: set[str], ok: bool) -> None:
    """However many attempts there are in two processes at once, one asks, and the others wait and take its verdict."""
    member, processes = Member(), [antifrauds(), antifrauds()]
    stand_in.answers(member, ok=ok, cache_ms=HOUR_MS, delay_ms=600_000)
    with ThreadPoolExecutor(ATTEMPTS) as threads:
        attempts = [threads.submit(attempt) for attempt in _attempts(member, processes)]
        assert wait_until(lambda: len(waiting) == ATTEMPTS - 1, 5)
        assert stand_in.calls(member) == 1
        assert not any(attempt.done() for attempt in attempts)
        stand_in.forget()
        assert [attempt.result(10) for attempt in attempts] == [ok] * ATTEMPTS
    assert stand_in.calls(member) == 0


def test_verdicts_for_once_are_asked_for_one_by_one(stand_in: StandIn, antifrauds: Make) -> None:
    """Without cache_until each attempt asks, and never two at once."""
    member, processes = Member(), [antifrauds(), antifrauds()]
    stand_in.answers(member, delay_ms=20)
    assert together(_attempts(member, processes)) == [True] * ATTEMPTS
    assert (stand_in.calls(member), stand_in.at_once(member)) == (ATTEMPTS, 1)


def test_users_do_not_wait_for_each_other(stand_in: StandIn, antifrauds: Make) -> None:
    """While one user's attempt waits for its answer another's goes on, in the same process too."""
    slow, quick, antifraud = Member(), Member(), antifrauds()
    stand_in.answers(slow, delay_ms=600_000)
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(slow.tries, antifraud)
        assert wait_until(lambda: stand_in.calls(slow) == 1, 10)
        assert quick.tries(antifraud)
        assert not held.done()
        stand_in.forget()
        assert held.result(10)


def test_two_calls_of_one_attempt_are_one_lease(
    stand_in: StandIn, antifraud: EmbeddedAntifraud, antifrauds: Make, waiting: set[str]
) -> None:
    """No other attempt calls the service between the two calls of an attempt."""
    member, processes = Member(), [antifrauds(), antifrauds()]
    stand_in.answers(member, cache_ms=HOUR_MS, delay_ms=600_000, fail_next=1, status=503)
    with ThreadPoolExecutor(ATTEMPTS) as threads:
        attempts = [threads.submit(attempt) for attempt in _attempts(member, processes)]
        assert wait_until(lambda: len(waiting) == ATTEMPTS - 1, 5)
        antifraud._state.release_delayed_calls()
        assert all(attempt.result(10) for attempt in attempts)
    assert (stand_in.calls(member), stand_in.at_once(member)) == (2, 1)


def test_dead_holder_blocks_for_its_lease(stand_in: StandIn, antifrauds: Make, cache: "redis.Redis") -> None:
    """A process that dies with a lease blocks other attempts for the length of one call and a second."""
    member, dying, living = Member(), antifrauds(antifraud_read_timeout_s=0.1), antifrauds()
    assert dying._verdicts.acquire(Lease(member.user_id)) is Decision.ASK
    assert 0 < cache.pttl(member.lease_key) <= 2100
    assert living._verdicts.acquire(Lease(member.user_id)) is Decision.WAIT
    assert (member.tries(living), stand_in.calls(member)) == (True, 1)


def test_default_timeout_outlives_a_dead_holder(antifrauds: Make, settings: Settings, cache: "redis.Redis") -> None:
    """With the default settings an attempt waits longer than a dead holder blocks."""
    member, limits = Member(), (settings.antifraud_connect_timeout_s, settings.antifraud_read_timeout_s)
    dying = antifrauds(antifraud_connect_timeout_s=limits[0], antifraud_read_timeout_s=limits[1])
    dying._verdicts.acquire(Lease(member.user_id))
    lease_s = cache.pttl(member.lease_key) / 1000
    assert sum(limits) < lease_s <= sum(limits) + 1 <= settings.antifraud_lease_timeout_s - 0.5


def test_lease_timeout(
    stand_in: StandIn, antifrauds: Make, cache: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    """An attempt without a lease in time is refused; it does not call the service, and the holder keeps the lease."""
    member = Member()
    cache.set(member.lease_key, "somebody", px=HOUR_MS)
    assert not member.tries(antifrauds(antifraud_lease_timeout_s=0.1))
    assert (stand_in.calls(member), cache.get(member.lease_key)) == (0, b"somebody")
    told = [(record.getMessage(), vars(record)["user_id"]) for record in caplog.records if record.levelno >= WARNING]
    assert told == [("antifraud_lease_timeout", member.user_id)]


@pytest.mark.parametrize("kept", [b"yes", b"no"])
def test_verdict_comes_while_waiting(
    stand_in: StandIn, antifrauds: Make, cache: "redis.Redis", waiting: set[str], kept: bytes
) -> None:
    """A waiting attempt uses the verdict of another attempt as soon as it is cached."""
    member, antifraud = Member(), antifrauds()
    cache.set(member.lease_key, "somebody", px=HOUR_MS)
    with ThreadPoolExecutor(1) as threads:
        attempt = threads.submit(member.tries, antifraud)
        assert wait_until(lambda: bool(waiting), 5)
        cache.set(member.verdict_key, kept, px=HOUR_MS)
        assert attempt.result(5) is (kept == b"yes")
    assert stand_in.calls(member) == 0


@pytest.mark.parametrize("successors", [None, b"no"])
def test_stale_holder_harms_nobody(
    stand_in: StandIn, antifrauds: Make, cache: "redis.Redis", successors: bytes | None
) -> None:
    """An attempt whose lease has expired changes neither the lease nor the verdict of its successor."""
    member, antifraud = Member(), antifrauds()
    stand_in.answers(member, cache_ms=HOUR_MS, delay_ms=600_000)
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(member.tries, antifraud)
        assert wait_until(lambda: stand_in.calls(member) == 1, 5)
        cache.set(member.lease_key, "successor", px=HOUR_MS)
        if successors is not None:
            cache.set(member.verdict_key, successors, px=HOUR_MS)
        stand_in.forget()
        assert late.result(5)
    assert cache.get(member.lease_key) == b"successor"
    assert cache.get(member.verdict_key) == (successors or b"yes")


class _Script:
    """Stands in for the client, to do something between the two calls of an attempt."""

    def __init__(self, between: Callable[[], object], *answers: Verdict | Exception) -> None:
        self._between = between
        self._answers = list(answers)
        self.asked = 0

    def ask(self, _email: str, _promo_id: UUID) -> Verdict:
        """Answer the next call."""
        answer = self._answers[self.asked]
        self.asked += 1
        if isinstance(answer, Exception):
            self._between()
            raise answer
        return answer

    def close(self) -> None:
        """Close nothing."""


def _scripted(antifraud: Antifraud, between: Callable[[], object], *answers: Verdict | Exception) -> _Script:
    antifraud.close()
    antifraud._client = script = _Script(between, *answers)  # type: ignore[assignment]
    return script


YES = Verdict(ok=True, valid_until=None)


def test_second_call_has_a_lease_of_its_own(antifrauds: Make, cache: "redis.Redis") -> None:
    """Before its second call an attempt renews its lease, so that a call is never made on the rest of one."""
    member, antifraud, left_ms = Member(), antifrauds(), []

    def use_up() -> None:
        left_ms.append(cache.pttl(member.lease_key))
        cache.pexpire(member.lease_key, 5000)

    _scripted(antifraud, use_up, NoVerdict(), NoVerdict())
    assert not member.tries(antifraud)
    assert len(left_ms) == 2
    assert min(left_ms) > 30_000
    assert not cache.exists(member.lease_key)


@pytest.mark.parametrize("kept", [b"yes", b"no"])
def test_lease_lost_before_the_second_call(
    antifrauds: Make, cache: "redis.Redis", waiting: set[str], kept: bytes
) -> None:
    """An attempt that has lost its lease before the second call waits for the verdict of the new holder."""
    member, antifraud = Member(), antifrauds()
    script = _scripted(antifraud, lambda: cache.set(member.lease_key, "successor", px=HOUR_MS), NoVerdict(), YES)
    with ThreadPoolExecutor(1) as threads:
        attempt = threads.submit(member.tries, antifraud)
        assert wait_until(lambda: bool(waiting), 5)
        cache.set(member.verdict_key, kept, px=HOUR_MS)
        assert attempt.result(5) is (kept == b"yes")
    assert script.asked == 1
    assert cache.get(member.lease_key) == b"successor"


def test_lease_ends_with_an_exception(antifrauds: Make, cache: "redis.Redis") -> None:
    """An attempt that fails with an unexpected error releases its lease."""
    member, antifraud = Member(), antifrauds()
    _scripted(antifraud, lambda: None, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        member.tries(antifraud)
    assert not cache.exists(member.lease_key)


def test_lease_whose_grant_was_lost(antifrauds: Make) -> None:
    """An attempt may acquire its lease again, as it does when the first response of Redis was lost."""
    lease, verdicts = Lease(Member().user_id), antifrauds()._verdicts
    assert [verdicts.acquire(lease), verdicts.acquire(lease)] == [Decision.ASK, Decision.ASK]


def test_keys_of_a_user_are_in_one_slot() -> None:
    """A Redis Cluster runs scripts on keys of one slot only."""
    member = Member()
    assert key_slot(member.verdict_key.encode()) == key_slot(member.lease_key.encode())


def test_round_trips(stand_in: StandIn, antifrauds: Make, sent_to_redis: list[str]) -> None:
    """A check that calls the service takes two round trips to Redis; one with a cached verdict takes a single one."""
    member, antifraud = Member(), antifrauds()
    Member().tries(antifraud)  # has Redis load the scripts, once and for all
    sent_to_redis.clear()
    stand_in.answers(member, cache_ms=HOUR_MS)
    assert member.tries(antifraud)
    assert sent_to_redis == ["EVALSHA"] * 2
    assert member.tries(antifraud)
    assert sent_to_redis == ["EVALSHA"] * 3


def test_without_redis_there_are_no_leases(
    stand_in: StandIn, antifrauds: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Without Redis each attempt calls the service at once, logs a warning and uses the verdict."""
    member, antifraud = Member(), antifrauds(redis_port=1)
    stand_in.answers(member, cache_ms=HOUR_MS, delay_ms=600_000)
    with ThreadPoolExecutor(3) as threads:
        attempts = [threads.submit(member.tries, antifraud) for _ in range(3)]
        assert wait_until(lambda: stand_in.calls(member) == 3, 5)
        assert stand_in.at_once(member) == 3
        stand_in.forget()
        assert all(attempt.result(5) for attempt in attempts)
    assert caplog.text.count("antifraud_cache_unavailable") == 6


@pytest.mark.parametrize(("kept", "blocked"), [(b"no", True), (b"yes", False), (None, False), (b"maybe", False)])
def test_blocked(stand_in: StandIn, antifrauds: Make, cache: "redis.Redis", kept: bytes | None, blocked: bool) -> None:
    """A user is blocked while a verdict that holds says no; looking asks nobody and leaves all as it is."""
    member, antifraud = Member(), antifrauds()
    if kept is not None:
        cache.set(member.verdict_key, kept, px=HOUR_MS)
    assert antifraud.is_blocked(member.user_id) is blocked
    assert (stand_in.calls(member), cache.get(member.verdict_key), cache.get(member.lease_key)) == (0, kept, None)


def test_blocked_without_redis(antifrauds: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Without Redis nobody is known to be blocked, and there is a warning."""
    assert not antifrauds(redis_port=1).is_blocked(Member().user_id)
    assert "antifraud_cache_unavailable" in caplog.text
