"""Reads when the replica, or the primary, fails or is late."""

import logging
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from persistence.migrations import update_schema
from promo_api.circuit_breaker import CircuitBreaker
from promo_api.dev.processes import wait_until
from promo_api.errors import ServiceUnavailable
from promo_api.replicas import LAG_MAX_S, LagLimit
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.integration.replicas.replica_service import (
    NO_CLIENT,
    TIMEOUT_S,
    Service,
    Time,
    assert_success,
    read_settings,
)
from tests.sigstop import frozen
from tests.standby import Pair
from tests.statements import sent_statements


def test_refused_reads(service: Service, company: Account) -> None:
    """A read that is refused is no failure of the replica."""
    other, promo_id = service.api.sign_up_company(), company.create_promo()
    service.pair.catch_up()
    path = f"/business/promo/{promo_id}"
    assert service.result_of(lambda: other.get(path)) == "replica"
    assert other.get(path).status_code == 403
    assert service.result_of(lambda: company.get(path)) == "replica"


def test_lag(service: Service, company: Account, user: Account) -> None:
    """A replica that is too far behind is not read, even by accounts that have not written."""
    promo = f"/user/promo/{company.create_promo()}"
    service.pair.catch_up()
    with service.paused_replay():
        service.api.sign_up_user().post(f"{promo}/like")
        assert service.result_of(lambda: user.get(promo)) == "replica"
        service.time.now_s += 1
        user.get(promo)
        service.time.now_s += LAG_MAX_S
        assert user.get(promo).json()["like_count"] == 1
        assert service.result_of(lambda: user.get(promo)) == "lag"
    service.pair.catch_up()
    assert service.result_of(lambda: user.get(promo)) == "replica"


def test_limit_of_the_lag() -> None:
    """The limit is a position of the last 10 s; after a pause it is the current one."""
    time = Time()
    limit = LagLimit(time)
    assert limit.find_position(100) == 100
    for second in range(1, 11):
        time.now_s = float(second)
        assert limit.find_position(100 + second) == 100
    time.now_s = 10.9
    assert limit.find_position(111) == 101
    time.now_s = 100.0
    assert limit.find_position(900) == 900


def test_crash_of_the_primary(service: Service, company: Account, user: Account) -> None:
    """After a crash, which loses the stored positions, an account still sees what it wrote before."""
    promo = f"/user/promo/{company.create_promo()}"
    service.pair.catch_up()
    with service.paused_replay():
        user.post(f"{promo}/like")
        service.pair.primary.kill()
        service.pair.primary.start()
        responses: list[Any] = []
        assert wait_until(lambda: responses.append(user.get(promo)) or responses[-1].is_success, TIMEOUT_S)
        assert service.pair.on_primary("SELECT count(*) FROM account_writes") == [(1,)]
        assert responses[-1].json()["is_liked_by_user"]
        assert service.result_of(lambda: user.get(promo)) == "lag"
    service.pair.catch_up()
    assert service.result_of(lambda: user.get(promo)) == "replica"


def test_killed_replica(service: Service, company: Account, user: Account, caplog: pytest.LogCaptureFixture) -> None:
    """Without its replica the service answers all reads from the primary, and returns to the replica."""
    caplog.set_level(logging.WARNING, "promo_api.replicas")
    promo = f"/user/promo/{company.create_promo()}"
    service.pair.catch_up()
    service.pair.standby.kill()
    assert [service.result_of(lambda: assert_success(user.get(promo))) for _ in range(5)] == ["failed"] * 5
    service.pair.standby.start()
    assert wait_until(lambda: service.result_of(lambda: assert_success(user.get(promo))) == "replica", TIMEOUT_S)
    assert [record.message for record in caplog.records] == ["replica_left", "replica_used_again"]
    assert caplog.records[0].__dict__["reason"]


def test_open_circuit(service: Service, company: Account, user: Account) -> None:
    """While the circuit breaker is open, a read takes no statement more than without a replica."""
    promo = f"/user/promo/{company.create_promo()}"
    service.pair.catch_up()
    reads = service.runtime.replicas
    reads._breaker = CircuitBreaker(failures=1, cooldown_s=3600)
    service.pair.standby.kill()
    try:
        user.get(promo)
        with sent_statements() as sent:
            assert service.result_of(lambda: user.get(promo)) == "failed"
        assert len(sent) == 2
    finally:
        service.pair.standby.start()


def test_frozen_replica(service: Service, company: Account, user: Account) -> None:
    """A replica that does not respond costs a read a second, less than the time limit of statements, and is left."""
    promo = f"/user/promo/{company.create_promo()}"
    service.pair.catch_up()
    with frozen(service.pair.standby):
        began_s = monotonic()
        assert service.result_of(lambda: assert_success(user.get(promo))) == "failed"
        assert monotonic() - began_s < service.runtime.settings.postgres_statement_timeout_s
    assert wait_until(lambda: service.result_of(lambda: user.get(promo)) == "replica", TIMEOUT_S)


def test_recovery_conflict(service: Service) -> None:
    """A read that the replay cancels is repeated on the primary, and the replica is used again at once."""
    ran_on_standby: list[bool] = []

    def read(connection: Any) -> str:
        [is_standby] = connection.execute(text("SELECT pg_is_in_recovery()")).one()
        ran_on_standby.append(is_standby)
        if is_standby:
            connection.execute(text("SELECT count(*) FROM likes, pg_sleep(60)"))
        return "done"

    def lock() -> None:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)'"
        assert wait_until(lambda: service.pair.on_standby(waiting) == [(1,)], TIMEOUT_S)
        service.pair.on_primary("BEGIN; LOCK TABLE likes IN ACCESS EXCLUSIVE MODE; COMMIT")

    locker = Thread(target=lock)
    locker.start()
    try:
        assert service.result_of(lambda: service.runtime.replicas.read(uuid4(), read)) == "failed"
    finally:
        locker.join()
    assert ran_on_standby == [True, False]
    assert service.runtime.replicas._breaker.is_closed


def test_primary_that_became_a_standby(service: Service) -> None:
    """A server that cannot store positions, because it is no primary, is an outage and not a defect."""
    settings = replace(service.runtime.settings, postgres_host=service.pair.standby.host, postgres_port="5432")
    with closing(Runtime.open(settings)) as runtime, pytest.raises(ServiceUnavailable):
        runtime.replicas.read(uuid4(), lambda _connection: None)


def test_promoted_replica(environment: dict[str, str]) -> None:
    """A replica that was promoted is not read any more, although its connections stay open."""
    with TemporaryDirectory(prefix="promo-promoted-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        pair = Pair(stack, Path(folder), synchronous=False)
        settings = read_settings(environment, pair)
        runtime = stack.enter_context(closing(Runtime.open(settings)))
        update_schema(runtime.database.engine)
        service = Service(pair, runtime, Api(NO_CLIENT))
        assert service.result_of(service.read) == "replica"
        pair.promote()
        assert [service.result_of(service.read) for _ in range(3)] == ["failed"] * 3
