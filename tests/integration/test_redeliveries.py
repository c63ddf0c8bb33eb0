"""The deliveries of a webhook as its company sees them, tests, and repeated deliveries."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from persistence.events import delete_old_events, list_old_events
from persistence.schema.event_tables import events
from promo_api.runtime import Runtime
from promo_api.webhook_sweepers import redeliveries_sweeper
from tests.accounts import Account, Api
from tests.integration.events import fill, publish, read
from tests.integration.webhook_rows import (
    PATH,
    add_delivery,
    change_row,
    create_webhook,
    deliveries_of,
    row_of,
)

_PAST = datetime(2025, 1, 16, 12, 30, tzinfo=UTC)


@pytest.fixture
def company(api: Api) -> Account:
    """A company."""
    return api.sign_up_company()


def _outcome(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def _redeliver(company: Account, webhook: dict[str, Any], **body: str) -> Any:
    return company.post(f"{PATH}/{webhook['id']}/redeliver", json=body)


def _events(runtime: Runtime, company: Account, count: int) -> list[str]:
    """Publish events of a company, and return the ids of all, the oldest first; webhooks get their deliveries."""
    fill(runtime.database, UUID(company.id), count)
    return [event["id"] for event in read(runtime, company)]


def test_test_event(company: Account, runtime: Runtime) -> None:
    """A test writes an event for the webhook. It has no promo."""
    webhook = create_webhook(company, event_types=["promo.expired"])
    response = company.post(f"{PATH}/{webhook['id']}/test")
    assert response.status_code == 202
    [event] = read(runtime, company)
    assert (event["id"], event["type"]) == (response.json()["event_id"], "webhook.test")
    assert event["data"] == {"webhook_id": webhook["id"]}


def test_disabled_webhook(company: Account, runtime: Runtime) -> None:
    """A disabled webhook accepts neither a test nor a redelivery."""
    webhook = create_webhook(company, enabled=False)
    [event] = _events(runtime, company, 1)
    responses = [
        company.post(f"{PATH}/{webhook['id']}/test"),
        _redeliver(company, webhook, event_id=event),
        _redeliver(company, webhook, since="2025-01-16T12:30:00Z"),
    ]
    assert {_outcome(each) for each in responses} == {(409, "webhook_disabled")}
    assert len(read(runtime, company)) == 1
    assert deliveries_of(runtime, webhook) == {}
    assert row_of(runtime, webhook).redeliver_after is None


def test_pages_of_deliveries(company: Account, runtime: Runtime) -> None:
    """Deliveries are listed by the time of their events, the newest first, without those of other webhooks."""
    ids = _events(runtime, company, 7)
    webhook, other = create_webhook(company), create_webhook(company)
    for event_id in ids[3:] + ids[:3]:
        add_delivery(runtime, company, webhook, event_id)
    add_delivery(runtime, company, other, ids[0])
    path, pages = f"{PATH}/{webhook['id']}/deliveries?limit=3", []
    while path:
        response = company.get(path)
        pages.append([each["event_id"] for each in response.json()])
        path = response.links["next"]["url"].removeprefix("/api") if "next" in response.links else ""
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [each for page in pages for each in page] == ids[::-1]


def test_members_of_a_delivery(company: Account, runtime: Runtime) -> None:
    """A delivery has the result of its last attempt, and, while it is pending, the time of the following attempt."""
    ids = _events(runtime, company, 3)
    webhook = create_webhook(company)
    attempted = {"attempts": 2, "attempted_at": _PAST}
    rows: list[dict[str, Any]] = [
        {"due_at": _PAST, "created_at": _PAST},
        {"state": "succeeded", "due_at": None, "created_at": _PAST, **attempted, "status": 204},
        {"due_at": _PAST, "created_at": _PAST, **attempted, "error": "timeout"},
    ]
    for event_id, values in zip(ids, rows, strict=True):
        add_delivery(runtime, company, webhook, event_id, **values)
    time = _PAST.isoformat()
    common = {"event_type": "promo.changed", "created_at": time}
    tried = {"attempts": 2, "attempted_at": time}
    assert company.get(f"{PATH}/{webhook['id']}/deliveries").json() == [
        {**common, "event_id": ids[2], "state": "pending", **tried, "next_attempt_at": time, "error": "timeout"},
        {**common, "event_id": ids[1], "state": "succeeded", **tried, "status": 204},
        {**common, "event_id": ids[0], "state": "pending", "attempts": 0, "next_attempt_at": time},
    ]


def test_redelivery_of_an_event(company: Account, runtime: Runtime) -> None:
    """An event is due again now, whether it was delivered, has failed, waits, or was not for the webhook."""
    ids = _events(runtime, company, 4)
    webhook, other = create_webhook(company, event_types=["promo.expired"]), create_webhook(company)
    result = {"attempts": 9, "attempted_at": _PAST, "created_at": _PAST}
    for event_id, values in zip(
        ids,
        ({"state": "succeeded", "due_at": None, "status": 200}, {"state": "failed", "due_at": None, "error": "timeout"},
         {"due_at": datetime.now(UTC) + timedelta(days=1), "status": 503}),
        strict=False,
    ):  # fmt: skip
        add_delivery(runtime, company, webhook, event_id, **result, **values)
        add_delivery(runtime, company, other, event_id, **result, **values)
    before = deliveries_of(runtime, other)
    for event_id in ids:
        response = _redeliver(company, webhook, event_id=event_id)
        assert (response.status_code, response.json()) == (202, {"status": "ok"})
    rows = deliveries_of(runtime, webhook)
    assert rows.keys() == {*ids}
    for row in rows.values():
        assert (row.state, row.attempts, row.attempted_at, row.status, row.error) == ("pending", 0, None, None, None)
        assert row.due_at <= datetime.now(UTC)
        assert row.created_at > datetime.now(UTC) - timedelta(minutes=1)
    assert deliveries_of(runtime, other) == before


def test_unknown_events(company: Account, runtime: Runtime, api: Api) -> None:
    """An event that is unpublished, of another company, or a test of another webhook is not found."""
    webhook, other = create_webhook(company), create_webhook(company)
    test_id = company.post(f"{PATH}/{other['id']}/test").json()["event_id"]
    stranger = api.sign_up_company()
    [foreign] = _events(runtime, stranger, 1)
    publish(runtime)
    unpublished = company.post(f"{PATH}/{webhook['id']}/test").json()["event_id"]
    for event_id in (test_id, foreign, unpublished, str(uuid4())):
        assert _outcome(_redeliver(company, webhook, event_id=event_id)) == (404, "event_not_found")
    assert deliveries_of(runtime, webhook) == {}
    assert _redeliver(company, other, event_id=test_id).status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"event_id": str(uuid4()), "since": "2025-01-16T12:30:00Z"},
        {"event_id": None},
        {"event_id": "1"},
        {"since": "2025-01-16"},
        {"since": "2025-01-16T12:30:00"},
        {"until": "2025-01-16T12:30:00Z"},
    ],
)
def test_invalid_redeliveries(company: Account, body: dict[str, Any]) -> None:
    """A redelivery has either an event or a time with an offset."""
    assert _redeliver(company, create_webhook(company), **body).status_code == 400


def _set_publication(runtime: Runtime, company: Account, hours: list[int]) -> None:
    """Move the publication of the first events to hours after _PAST."""
    with runtime.database.autocommit() as connection:
        for number, hour in enumerate(hours, 1):
            is_event = (events.c.company_id == UUID(company.id), events.c.number == number)
            published_at = _PAST + timedelta(hours=hour)
            connection.execute(update(events).where(*is_event).values(published_at=published_at))


def test_redelivery_since_a_time(company: Account, runtime: Runtime) -> None:
    """The number is that before the first event published at or after the time, for each time, also after deletion."""
    webhook = create_webhook(company)
    hours = [0, 1, 1, 1, 4, 5, 5, 8]
    _events(runtime, company, len(hours))
    _set_publication(runtime, company, hours)
    deleted = 0
    for _ in range(2):
        for hour in range(-1, 10):
            change_row(runtime, webhook, redeliver_after=None)
            since = _PAST + timedelta(hours=hour)
            assert _redeliver(company, webhook, since=since.isoformat()).status_code == 202
            expected = max(sum(each < hour for each in hours), deleted)
            assert row_of(runtime, webhook).redeliver_after == expected, hour
        with runtime.database.transaction() as connection:
            since = _PAST + timedelta(hours=4, seconds=-1)
            old = list_old_events(connection, since, limit=100)
            if UUID(company.id) in old:
                delete_old_events(connection, UUID(company.id), old[UUID(company.id)], since)
            of_company = select(events.c.number).where(events.c.company_id == UUID(company.id))
            deleted = min(connection.scalars(of_company)) - 1
        assert deleted == 4


@pytest.mark.parametrize(("since", "number"), [("0001-01-01T00:00:00+12:00", 0), ("9999-12-31T23:59:59-12:00", 2)])
def test_redelivery_since_the_first_or_last_year(company: Account, runtime: Runtime, since: str, number: int) -> None:
    """A time that UTC cannot show stands for all events, or for none."""
    webhook = create_webhook(company)
    _events(runtime, company, 2)
    assert _redeliver(company, webhook, since=since).status_code == 202
    assert row_of(runtime, webhook).redeliver_after == number


def test_redelivery_without_events(company: Account, runtime: Runtime) -> None:
    """A company that has never had an event gets none."""
    webhook = create_webhook(company)
    assert _redeliver(company, webhook, since=_PAST.isoformat()).status_code == 202
    assert row_of(runtime, webhook).redeliver_after == 0


def test_several_redeliveries(company: Account, runtime: Runtime) -> None:
    """Of several times the earliest counts, until the sweeper has passed it."""
    webhook, other = create_webhook(company), create_webhook(company)
    _events(runtime, company, 3)
    _set_publication(runtime, company, [0, 1, 2])
    for hour, number in ((2, 2), (1, 1), (2, 1)):
        _redeliver(company, webhook, since=(_PAST + timedelta(hours=hour)).isoformat())
        assert row_of(runtime, webhook).redeliver_after == number
    assert row_of(runtime, other).redeliver_after is None


def test_missed_events(company: Account, runtime: Runtime) -> None:
    """What was published while a webhook was disabled is listed as pending after a redelivery, and nothing else."""
    webhook = create_webhook(company, event_types=["promo.changed"])
    path = f"{PATH}/{webhook['id']}"
    before = _events(runtime, company, 2)
    assert company.patch(path, json={"enabled": False}).status_code == 200
    since = datetime.now(UTC)
    missed = _events(runtime, company, 3)[2:]
    company.create_promo()
    publish(runtime)
    assert company.patch(path, json={"enabled": True}).status_code == 200
    assert [each["event_id"] for each in company.get(f"{path}/deliveries").json()] == before[::-1]
    assert _redeliver(company, webhook, since=since.isoformat()).status_code == 202
    sweeper = redeliveries_sweeper(runtime.database)
    while sweeper.sweep():
        pass
    listed = company.get(f"{path}/deliveries").json()
    assert [each["event_id"] for each in listed] == [*missed[::-1], *before[::-1]]
    assert {each["state"] for each in listed} == {"pending"}
    assert row_of(runtime, webhook).redeliver_after is None
