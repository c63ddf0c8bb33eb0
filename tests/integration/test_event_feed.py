"""The list of events with its cursor, and the sweepers of events."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import func, insert, select, update

from persistence.events import count_backlog
from persistence.schema.event_tables import event_feeds, events
from persistence.schema.tables import promos
from promo_api.event_sweepers import ended_promos_sweeper, events_sweeper
from promo_api.runtime import Runtime
from promo_api.telemetry import metrics
from tests.accounts import Account, Api
from tests.conftest import Clock
from tests.integration.events import PATH, fill, publish, read, sweeper_of_old_events, types
from tests.integration.test_redemptions import activate

TODAY = date(2030, 5, 10)


def test_ids_sort_by_time(runtime: Runtime, company: Account) -> None:
    """Ids are UUIDs of version 7 that sort by the time of the event."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    for _ in range(50):
        company.create_promo()
    page = read(runtime, company)
    ids = [event["id"] for event in page]
    assert ids == sorted(ids)
    assert {(UUID(each).version, UUID(each).variant) for each in ids} == {(7, "specified in RFC 4122")}
    milliseconds = UUID(ids[0]).int >> 80
    assert before.timestamp() * 1000 < milliseconds < datetime.now(UTC).timestamp() * 1000


def test_walk(runtime: Runtime, company: Account) -> None:
    """Each page has a cursor, also the last and an empty one, and later events follow it."""
    assert read(runtime, company) == []
    response = company.get(PATH)
    seen = []
    for expected in (0, 2, 1, 0, 1):
        if expected in (2, 1) and not response.json():
            for _ in range(3 if not seen else 1):
                company.create_promo()
            publish(runtime)
        response = company.get(f"{PATH}?limit=2&cursor={response.headers['x-next-cursor']}")
        assert len(response.json()) == expected
        assert ("link" in response.headers) == bool(expected)
        seen += [event["id"] for event in response.json()]
    assert len(set(seen)) == 4
    assert [event["id"] for event in read(runtime, company)] == seen


def test_link_leads_to_the_next_page(runtime: Runtime, company: Account) -> None:
    """The link of a page keeps its filter, and an empty page ends the walk."""
    for _ in range(3):
        company.create_promo(max_count=0)
    publish(runtime)
    path, pages = f"{PATH}?limit=2&type=promo.created,promo.changed", []
    while path:
        response = company.get(path)
        pages.append(len(response.json()))
        path = response.links["next"]["url"].removeprefix("/api") if "next" in response.links else ""
    assert pages == [2, 1, 0]


def test_empty_page_of_limit_0(company: Account) -> None:
    """A page without entries has the cursor of the same position."""
    cursor = company.get(f"{PATH}?limit=0").headers["x-next-cursor"]
    assert company.get(f"{PATH}?limit=0&cursor={cursor}").headers["x-next-cursor"] == cursor


def test_filter(runtime: Runtime, company: Account, user: Account) -> None:
    """Types can be repeated or separated by commas, and the order is that of the list without a filter."""
    promo_id = company.create_promo(activation_events=True, max_count=2)
    for _ in range(2):
        activate(user, promo_id)
    company.patch(f"/business/promo/{promo_id}", json={"paused": True})
    names = ["promo.created", "promo.activated", "promo.activated", "promo.exhausted", "promo.changed"]
    assert [event["type"] for event in read(runtime, company)] == names
    for query in ("type=promo.changed&type=promo.activated", "type=promo.activated,promo.changed,promo.changed"):
        assert types(runtime, company, query) == ["promo.activated", "promo.activated", "promo.changed"]
    assert types(runtime, company, "type=promo.expired") == []
    assert company.get(f"{PATH}?type=promo.gone").status_code == 400


def test_other_companies(runtime: Runtime, company: Account, api: Api) -> None:
    """A company sees no events of another."""
    company.create_promo()
    assert read(runtime, api.sign_up_company()) == []


def test_unpublished_events_are_hidden(runtime: Runtime, company: Account) -> None:
    """An event is listed after it was published."""
    company.create_promo()
    assert company.get(PATH).json() == []
    assert len(read(runtime, company)) == 1


def test_numbers(runtime: Runtime, company: Account) -> None:
    """A publisher numbers at most 500 events of a company at once, without a gap, and companies take turns."""
    others = [uuid4(), uuid4()]
    publish(runtime)
    for company_id in (*others, UUID(company.id)):
        fill(runtime.database, company_id, 600)
    assert events_sweeper(runtime.database).sweep() == 1500
    with runtime.database.autocommit() as connection:
        assert count_backlog(connection, limit=200).events == 200
        backlog = count_backlog(connection, limit=1000)
    assert (backlog.events, 0 < backlog.age_s < 60) == (300, True)
    publish(runtime)
    numbers = select(events.c.number).where(events.c.company_id == others[0]).order_by(events.c.number)
    last = select(event_feeds.c.last_number).where(event_feeds.c.company_id == others[0])
    with runtime.database.autocommit() as connection:
        assert connection.scalars(numbers).all() == [*range(1, 601)]
        assert connection.scalars(last).all() == [600]
        assert count_backlog(connection, limit=1).age_s == 0


def test_metrics(runtime: Runtime, company: Account) -> None:
    """Published events are counted by type, also types of a later version."""
    publish(runtime)
    labels = {"type": "promo.changed"}
    before = metrics.REGISTRY.get_sample_value("promo_events_published_total", labels) or 0
    fill(runtime.database, UUID(company.id), 3)
    with runtime.database.autocommit() as connection:
        connection.execute(insert(events), {"company_id": UUID(company.id), "type": "promo.later"})
    publish(runtime)
    assert metrics.REGISTRY.get_sample_value("promo_events_published_total", labels) == before + 3


def end_promos(runtime: Runtime, today: date) -> None:
    """Report the promos that have ended before a day."""
    while ended_promos_sweeper(runtime.database, lambda: today).sweep():
        pass


def test_ended_promos(runtime: Runtime, company: Account, clock: Clock) -> None:
    """A promo is reported once, when its last day is over; also if the service was down on that day."""
    clock.stopped_at = datetime(2030, 5, 1, tzinfo=UTC)
    until = {"active_until": "2030-05-10"}
    promo_id = company.create_promo(**until)
    company.create_promo()
    end_promos(runtime, TODAY)
    assert types(runtime, company) == []
    for day in (TODAY + timedelta(days=3), TODAY + timedelta(days=4)):
        end_promos(runtime, day)
    assert [event["data"] for event in read(runtime, company)[2:]] == [{"promo_id": promo_id, **until}]


def test_end_after_an_extension(runtime: Runtime, company: Account, clock: Clock) -> None:
    """A promo that was extended after its end is reported again; an end that moves in the past is not."""
    promo_id = company.create_promo(active_until="2030-05-10")
    path = f"/business/promo/{promo_id}"
    counts = []
    for day, until in ((11, "2030-05-09"), (12, "2030-05-14"), (14, "2030-05-08"), (15, None), (16, "2030-05-16")):
        clock.stopped_at = datetime(2030, 5, day, 12, tzinfo=UTC)
        end_promos(runtime, runtime.today())
        company.patch(path, json={"active_until": until})
        end_promos(runtime, runtime.today())
        counts.append(types(runtime, company).count("promo.expired"))
    assert counts == [1, 1, 2, 2, 2]


def test_old_events_are_deleted(runtime: Runtime, company: Account) -> None:
    """Events are deleted after their days, in portions; a cursor from before continues with the oldest event."""
    sweeper = sweeper_of_old_events(runtime)
    first = company.get(PATH).headers["x-next-cursor"]
    publish(runtime)
    fill(runtime.database, UUID(company.id), 1202)
    publish(runtime)
    published_at = func.now() - timedelta(days=30)
    is_old = (events.c.company_id == UUID(company.id), events.c.number <= 1200)
    with runtime.database.autocommit() as connection:
        connection.execute(update(events).where(*is_old).values(published_at=published_at))
    assert [sweeper.sweep() for _ in range(3)] == [1000, 200, 0]
    page = company.get(f"{PATH}?limit=100&cursor={first}").json()
    assert (len(page), page) == (2, read(runtime, company))


def test_ended_promos_in_batches(runtime: Runtime, company: Account) -> None:
    """A step reports at most a hundred promos, and only promos with an unreported end."""
    end_promos(runtime, date(2001, 1, 1))
    for _ in range(101):
        company.create_promo(active_until="2001-01-01")
    with runtime.database.autocommit() as connection:
        connection.execute(
            update(promos).where(promos.c.company_id == UUID(company.id)).values(reported_until=date(2000, 12, 31))
        )
    sweeper = ended_promos_sweeper(runtime.database, lambda: date(2001, 1, 2))
    assert [sweeper.sweep() for _ in range(3)] == [100, 1, 0]
