"""Events: a cursor misses none, numbers have no gap, and each crossing is reported once, in any order."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from persistence.activations import Claim, claim_values
from persistence.events import list_events, update_event_numbers
from persistence.schema.event_tables import event_feeds, events, promo_events
from persistence.schema.tables import promo_counters, promos
from promo_api.errors import ServiceUnavailable
from promo_api.event_sweepers import ended_promos_sweeper, events_sweeper
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.integration.events import PATH, fill, publish, types, unpublished, write
from tests.integration.test_redemptions import activate
from tests.race.interleaving import Stage, pid_of, together
from tests.race.jobs import activation, patch, statuses


@pytest.fixture
def company_id() -> UUID:
    """A company without other events."""
    return uuid4()


def numbers(runtime: Runtime, company_id: UUID) -> list[int]:
    """Return the numbers of the events of a company in order; an unpublished one has none."""
    statement = select(events.c.number).where(events.c.company_id == company_id).order_by(events.c.number)
    with runtime.database.autocommit() as connection:
        return list(connection.scalars(statement))


def walk(runtime: Runtime, company_id: UUID, after: list[int] | None) -> tuple[list[str], list[int]]:
    """Return the types of the events after a key, and the next key."""
    with runtime.database.autocommit() as connection:
        page = list_events(connection, company_id, types=None, limit=100, after=after)
    assert page.next_key is not None
    return [event.type for event in page.entries], list(page.next_key)


def test_late_commit_is_not_missed(runtime: Runtime, company_id: UUID) -> None:
    """An event of a transaction that began first and commits last follows a cursor that was read in between."""
    publish(runtime)  # the events of other tests
    with runtime.database.transaction() as early:
        write(early, company_id, "early")
        with runtime.database.transaction() as late:
            write(late, company_id, "late")
        publish(runtime)
        seen, cursor = walk(runtime, company_id, None)
        assert seen == ["late"]
    assert walk(runtime, company_id, cursor) == ([], cursor)
    publish(runtime)
    assert walk(runtime, company_id, cursor)[0] == ["early"]
    assert numbers(runtime, company_id) == [1, 2]


def test_uncommitted_numbers_are_not_read(runtime: Runtime, company_id: UUID) -> None:
    """Readers see the events of a publisher all at once, when it commits."""
    fill(runtime.database, company_id, 3)
    with runtime.database.transaction() as connection:
        assert len(update_event_numbers(connection, company_id)) == 3
        assert walk(runtime, company_id, None) == ([], [0])
    assert walk(runtime, company_id, None)[1] == [3]


def test_order_of_a_publication(runtime: Runtime, company_id: UUID) -> None:
    """Events of promos and other events of a company are numbered together, in the order in which they were written."""
    with runtime.database.autocommit() as connection:
        for number in range(9):
            write(connection, company_id, str(number), events if number % 3 == 0 else promo_events)
    publish(runtime)
    assert walk(runtime, company_id, None) == ([*"012345678"], [9])
    with runtime.database.autocommit() as connection:
        assert unpublished(connection, company_id) == []


def test_two_publishers(runtime: Runtime, company_id: UUID) -> None:
    """A publisher leaves a company that another one publishes, and does not wait."""
    fill(runtime.database, company_id, 2)
    publish(runtime)
    fill(runtime.database, company_id, 2)
    with runtime.database.transaction() as first, runtime.database.transaction() as second:
        assert len(update_event_numbers(first, company_id)) == 2
        assert update_event_numbers(second, company_id) == []
    assert numbers(runtime, company_id) == [1, 2, 3, 4]


def test_first_publishers_together(runtime: Runtime, company_id: UUID) -> None:
    """Publishers that begin the feed of a company at once number each event once."""
    fill(runtime.database, company_id, 40)

    def sweep() -> int:
        with runtime.database.transaction() as connection:
            return len(update_event_numbers(connection, company_id))

    assert sorted(together([sweep] * 8)) == [0] * 7 + [40]
    assert numbers(runtime, company_id) == [*range(1, 41)]


def test_publishers_and_writers_together(runtime: Runtime, company_id: UUID) -> None:
    """Readers that follow the cursor see each event once and in order, while writers and publishers work."""
    writers, count = 6, 40
    seen: list[str] = []

    def write_all(writer: int) -> None:
        for number in range(count):
            with runtime.database.transaction() as connection:
                write(connection, company_id, f"{writer}.{number}", events if number % 4 == 0 else promo_events)

    def publish_all() -> None:
        sweeper = events_sweeper(runtime.database)
        while len(seen) < writers * count:
            sweeper.sweep()

    def read_all() -> None:
        cursor = None
        while len(seen) < writers * count:
            page, cursor = walk(runtime, company_id, cursor)
            seen.extend(page)

    together([*(partial(write_all, writer) for writer in range(writers)), publish_all, publish_all, read_all])
    assert len(set(seen)) == len(seen) == writers * count
    assert numbers(runtime, company_id) == [*range(1, writers * count + 1)]


def test_killed_publisher(runtime: Runtime, company_id: UUID, stage: Stage) -> None:
    """A publisher that dies before it commits leaves no number, and another one goes on."""
    fill(runtime.database, company_id, 3)
    publish(runtime)
    fill(runtime.database, company_id, 3)
    with pytest.raises(ServiceUnavailable):
        _publish_and_die(runtime, company_id, stage)
    assert numbers(runtime, company_id)[:3] == [1, 2, 3]
    with runtime.database.autocommit() as connection:
        assert len(unpublished(connection, company_id)) == 3
    publish(runtime)
    assert numbers(runtime, company_id) == [*range(1, 7)]
    last = select(event_feeds.c.last_number).where(event_feeds.c.company_id == company_id)
    with runtime.database.autocommit() as connection:
        assert connection.scalar(last) == 6


def _publish_and_die(runtime: Runtime, company_id: UUID, stage: Stage) -> None:
    with runtime.database.transaction() as connection:
        assert len(update_event_numbers(connection, company_id)) == 3
        stage.terminate(pid_of(connection))


def test_requests_do_not_wait_for_a_publisher(api: Api, runtime: Runtime) -> None:
    """Requests that cause events and requests that list them go on while a publisher holds the feed."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(activation_events=True)
    publish(runtime)
    activate(user, promo_id)
    with runtime.database.transaction() as connection:
        assert update_event_numbers(connection, UUID(company.id)) == ["promo.activated"]
        assert activation(user, promo_id)().status_code == 200
        assert patch(company, promo_id, max_count=5)().status_code == 200
        assert len(company.get(PATH).json()) == 1
    assert types(runtime, company) == ["promo.activated", "promo.activated", "promo.changed"]


@pytest.mark.parametrize("mode", [{"max_count": 8}, {"promo_unique": [f"code-{number}" for number in range(8)]}])
@pytest.mark.parametrize("is_coalesced", [True, False])
def test_crossings_of_concurrent_activations(
    api: Api, uncoalesced_api: Api, runtime: Runtime, mode: dict[str, Any], is_coalesced: bool
) -> None:
    """Concurrent activations report low stock and the last use exactly once, and each use once."""
    client = api if is_coalesced else uncoalesced_api
    company = client.sign_up_company()
    promo_id = company.create_promo(low_stock_percent=50, activation_events=True, **mode)
    users = [client.sign_up_user() for _ in range(12)]
    results = statuses(together([activation(user, promo_id) for user in users]))
    assert sorted(results) == [200] * 8 + [403] * 4
    assert sorted(types(runtime, company)) == ["promo.activated"] * 8 + ["promo.exhausted", "promo.low_stock"]
    page = company.get(f"{PATH}?limit=100&type=promo.activated").json()
    assert sorted(event["data"]["used_count"] for event in page) == [*range(1, 9)]


def test_crossings_of_a_batch(api: Api, runtime: Runtime) -> None:
    """A batch of claims that goes from plenty to nothing reports low stock once, then the last use once."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(max_count=5, low_stock_percent=20, activation_events=True)
    claims = runtime.tokens.read(user.token, "user")
    assert claims is not None
    batch = [Claim(uuid4(), claims.account_id, "ru", 30) for _ in range(5)]
    with runtime.database.autocommit() as connection:
        assert len(claim_values(connection, UUID(promo_id), batch, runtime.today())) == 5
    assert types(runtime, company) == ["promo.activated"] * 5 + ["promo.low_stock", "promo.exhausted"]


@pytest.mark.parametrize("is_first", [True, False])
def test_last_use_and_lower_limit(uncoalesced_api: Api, runtime: Runtime, stage: Stage, is_first: bool) -> None:
    """An activation and a lower limit that wait for each other report the exhausted promo once."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(max_count=2)
    activate(user, promo_id)
    jobs: list[Callable[[], Any]] = [activation(user, promo_id), patch(company, promo_id, max_count=1)]
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*(jobs if is_first else jobs[::-1]))
    assert statuses(queue.results()) == ([200, 400] if is_first else [200, 403])
    assert types(runtime, company).count("promo.exhausted") == 1


def test_ended_promo_is_reported_once(api: Api, runtime: Runtime, stage: Stage) -> None:
    """Sweepers that run at once report an end once, and skip a promo that a company changes."""
    company = api.sign_up_company()
    promo_id = company.create_promo(active_until="2001-05-10")
    with stage.lock_row(promos, id=UUID(promo_id)):
        _report_all(runtime)
        assert types(runtime, company) == []
    together([partial(_report_all, runtime)] * 6)
    assert types(runtime, company) == ["promo.expired"]


def _report_all(runtime: Runtime) -> None:
    while ended_promos_sweeper(runtime.database, runtime.today).sweep():
        pass


def test_idempotent_requests_together(api: Api, runtime: Runtime) -> None:
    """Simultaneous requests with one Idempotency-Key cause one event."""
    company = api.sign_up_company()
    user: Account = api.sign_up_user()
    promo_id = company.create_promo(activation_events=True)
    path, key = f"/user/promo/{promo_id}/activate", {"headers": {"Idempotency-Key": "1"}}
    assert set(statuses(together([partial(user.post, path, **key)] * 8))) == {200}
    assert types(runtime, company) == ["promo.activated"]
