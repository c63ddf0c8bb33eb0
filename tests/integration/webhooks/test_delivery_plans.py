"""Query plans: with many undelivered deliveries, no statement scans a table or sorts."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from persistence.events import list_waiting_companies, update_event_numbers
from persistence.webhooks.deliveries import (
    Batch,
    Result,
    claim_deliveries,
    list_ready_webhooks,
    update_deliveries,
    update_unsent,
)
from promo_api.runtime import Runtime
from tests.integration.persistence.plans import nodes_of, plan_of, tables_read

_FIRST = UUID(int=0)
_LEASE, _LIFETIME = timedelta(seconds=60), timedelta(days=3)
_WEBHOOKS = """
    INSERT INTO webhooks (company_id, id, url, event_types, secret)
    SELECT CASE WHEN number = 1 THEN CAST(:company AS uuid) ELSE gen_random_uuid() END,
        CASE WHEN number = 1 THEN CAST(:webhook AS uuid) ELSE gen_random_uuid() END, 'https://shop.example', '{}', ''
    FROM generate_series(1, 1000) number
"""
_EVENTS = """
    INSERT INTO events (company_id, type, number, published_at)
    SELECT :company, 'promo.changed', number, now() FROM generate_series(1, 60000) number
"""
_FEED = "INSERT INTO event_feeds (company_id, last_number) VALUES (:company, 60000)"
_DELIVERIES = """
    INSERT INTO deliveries (company_id, webhook_id, event_id, due_at)
    SELECT company_id, :webhook, id, now() - interval '1 second' * number FROM events WHERE company_id = :company
    UNION ALL
    SELECT company_id, id, gen_random_uuid(), now() FROM webhooks, generate_series(1, 40)
"""
_OUTBOX = """
    INSERT INTO promo_events (promo_id, company_id, type)
    SELECT gen_random_uuid(), :company, 'promo.changed' FROM generate_series(1, 600)
"""
# The statements of a publication, counted from its end, and what each reads.
_NEXT, _MOVE, _DELIVER = -4, -3, -2
_PUBLICATION = {
    _NEXT: {("promo_events", "promo_events_company"), ("events", "events_unpublished")},
    _MOVE: {("promo_events", "promo_events_company")},
    _DELIVER: {("events", "events_pk"), ("webhooks", "webhooks_pk")},
}


@pytest.fixture(scope="module")
def filled(runtime: Runtime) -> Iterator[tuple[Connection, UUID, UUID]]:
    """A connection, a company and a webhook, with 100,000 deliveries; rolled back at the end."""
    ids = {"company": uuid4(), "webhook": uuid4()}
    with runtime.database.engine.connect() as connection:
        for statement in (_WEBHOOKS, _EVENTS, _FEED, _DELIVERIES):
            connection.execute(text(statement), ids)
        connection.execute(text("ANALYZE webhooks, events, deliveries"))
        yield connection, ids["company"], ids["webhook"]
        connection.rollback()


def _claim(filled: tuple[Connection, UUID, UUID]) -> Batch:
    batch = claim_deliveries(*filled, limit=256, lease=_LEASE)
    assert batch is not None
    return batch


def test_ready_webhooks(filled: tuple[Connection, UUID, UUID]) -> None:
    """Each webhook with deliveries is found by one look into the index of due ones, and into the webhooks."""
    connection, *_ = filled
    plan = plan_of(connection, lambda: list_ready_webhooks(connection, after=(_FIRST, _FIRST), limit=100))
    assert {*tables_read(plan)} == {("deliveries", "deliveries_due"), ("webhooks", "webhooks_pk")}
    assert "Sort" not in {node["Node Type"] for node in nodes_of(plan)}


def test_claim(filled: tuple[Connection, UUID, UUID]) -> None:
    """The due deliveries of a webhook are read in the order of the index, and updated where they are."""
    plan = plan_of(filled[0], lambda: _claim(filled))
    assert {*tables_read(plan)} == {
        ("deliveries", "deliveries_due"), ("deliveries", "ctid"), ("events", "events_pk"),
    }  # fmt: skip
    assert "Sort" not in {node["Node Type"] for node in nodes_of(plan)}


def test_results(filled: tuple[Connection, UUID, UUID]) -> None:
    """Results are computed once, and stored by the keys of the deliveries; what was not sent is found by the lease."""
    connection, batch = filled[0], _claim(filled)
    results = [
        Result(each.event_id, has_succeeded=True, status=200, error=None, retry_s=None) for each in batch.deliveries
    ]
    stored = plan_of(connection, lambda: update_deliveries(connection, batch, results, lifetime=_LIFETIME))
    [computed] = [node for node in nodes_of(stored) if node.get("Subplan Name") == "CTE found"]
    assert [*tables_read(computed)] == []
    [delivery] = [node for node in nodes_of(stored) if node.get("Index Name") == "deliveries_pk"]
    assert all(name in delivery["Index Cond"] for name in ("company_id", "webhook_id", "event_id"))
    assert {*tables_read(stored)} == {("deliveries", "deliveries_pk")}
    ids = [each.event_id for each in batch.deliveries]
    unsent = plan_of(connection, lambda: update_unsent(connection, batch, ids, pause=_LEASE))
    assert {*tables_read(unsent)} == {("deliveries", "deliveries_due")}


@pytest.mark.parametrize(("statement", "indexes"), _PUBLICATION.items())
def test_publication(filled: tuple[Connection, UUID, UUID], statement: int, indexes: set[tuple[str, str]]) -> None:
    """A publication reads by indexes only, with an outbox that was empty when its statements were prepared."""
    connection, company_id, _ = filled
    connection.execute(text(_OUTBOX), {"company": company_id})
    plan = plan_of(connection, lambda: update_event_numbers(connection, company_id), statement)
    assert {*tables_read(plan)} == indexes
    assert "Sort" not in {node["Node Type"] for node in nodes_of(plan)} or statement == _MOVE


def test_waiting_companies(filled: tuple[Connection, UUID, UUID]) -> None:
    """Each company with unpublished events is found by one look into an index of each outbox."""
    connection, company_id, _ = filled
    connection.execute(text(_OUTBOX), {"company": company_id})
    companies: list[UUID] = []
    plan = plan_of(connection, lambda: companies.extend(list_waiting_companies(connection, after=_FIRST, limit=100)))
    assert company_id in companies
    assert {*tables_read(plan)} == {("promo_events", "promo_events_company"), ("events", "events_unpublished")}
