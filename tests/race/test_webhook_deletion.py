"""Deleted webhooks and old events leave no delivery behind, in any order of publisher, redelivery and sweeper."""

import pytest
from sqlalchemy import func, update

from persistence.consistency import count_mismatched_deliveries
from persistence.events import update_event_numbers
from persistence.schema.event_tables import events
from persistence.schema.webhook_tables import deliveries
from persistence.webhooks.redeliveries import insert_redeliveries, insert_redelivery
from promo_api.runtime import Runtime
from promo_api.webhook_sweepers import deleted_webhooks_sweeper, redeliveries_sweeper
from tests.integration.events import age, fill, publish_new, sweeper_of_old_events
from tests.integration.stored_webhooks import delete_all, store_webhook
from tests.race.interleaving import Stage


@pytest.fixture(autouse=True)
def _without_other_webhooks(runtime: Runtime) -> None:
    """Other tests leave webhooks that wait for redeliveries, and a sweeper takes any."""
    delete_all(runtime.database)


def _mismatches(runtime: Runtime) -> int:
    with runtime.database.autocommit() as connection:
        return count_mismatched_deliveries(connection)


def test_deletion_during_a_publication(runtime: Runtime) -> None:
    """A webhook that is deleted while a publisher inserts its deliveries is deleted after them."""
    webhook = store_webhook(runtime.database)
    fill(runtime.database, webhook.company_id, 2)
    sweeper = deleted_webhooks_sweeper(runtime.database)
    with runtime.database.transaction() as publisher:
        assert len(update_event_numbers(publisher, webhook.company_id)) == 2
        webhook.change(deleted_at=func.now())
        sweeper.sweep()
    while sweeper.sweep():
        pass
    assert (webhook.read(), webhook.deliveries()) == (None, {})


def test_deletion_during_a_redelivery(runtime: Runtime) -> None:
    """A webhook that is deleted while events are delivered again is deleted after them."""
    company_id, _ = publish_new(runtime, 3)
    webhook = store_webhook(runtime.database, company_id, redeliver_after=0)
    sweeper = deleted_webhooks_sweeper(runtime.database)
    with runtime.database.transaction() as connection, Stage(runtime.database).queue() as queue:
        assert insert_redeliveries(connection) == 3
        queue.add(lambda: webhook.change(deleted_at=func.now()))
        assert sweeper.sweep() == 0
        connection.commit()
    while sweeper.sweep():
        pass
    assert (webhook.read(), webhook.deliveries()) == (None, {})


def test_old_events_during_a_redelivery(runtime: Runtime) -> None:
    """An old event is deleted after a redelivery that has read it, with the new delivery."""
    sweeper = sweeper_of_old_events(runtime)
    company_id, ids = publish_new(runtime, 3)
    webhook = store_webhook(runtime.database, company_id, redeliver_after=0)
    age(runtime.database, ids, 31)
    with Stage(runtime.database).queue() as queue:
        with runtime.database.transaction() as connection:
            assert insert_redeliveries(connection) == 3
            queue.add(sweeper.sweep)
        assert queue.results() == [3]
    assert (webhook.deliveries(), _mismatches(runtime)) == ({}, 0)


def test_redelivery_during_a_deletion_of_old_events(runtime: Runtime) -> None:
    """A redelivery waits for the deletion of old events, and inserts nothing for them."""
    company_id, ids = publish_new(runtime, 3)
    first, *_, last = ids
    webhook = store_webhook(runtime.database, company_id, redeliver_after=0)
    with Stage(runtime.database).lock_row(events, company_id=company_id, id=first) as (holder, queue):
        queue.add(redeliveries_sweeper(runtime.database).sweep)
        holder.execute(events.delete().where(events.c.company_id == company_id, events.c.id != last))
    assert queue.results() == [1]
    assert (list(webhook.deliveries()), _mismatches(runtime)) == ([last], 0)


def test_redelivery_does_not_wait_for_a_sender(runtime: Runtime) -> None:
    """A redelivery does not wait for the pending deliveries that a sender has locked."""
    company_id, ids = publish_new(runtime, 3)
    webhook = store_webhook(runtime.database, company_id, redeliver_after=0)
    webhook.deliver(ids[:2])
    with runtime.database.transaction() as sender:
        sender.execute(update(deliveries).where(deliveries.c.webhook_id == webhook.id).values(attempts=1))
        assert redeliveries_sweeper(runtime.database).sweep() == 3
    assert [row.attempts for row in webhook.deliveries().values()] == [1, 1, 0]


def test_old_events_during_a_redelivery_of_one(runtime: Runtime) -> None:
    """An old event is deleted after a redelivery of it, with the new delivery."""
    sweeper = sweeper_of_old_events(runtime)
    company_id, ids = publish_new(runtime, 1)
    webhook = store_webhook(runtime.database, company_id)
    [event_id] = ids
    age(runtime.database, ids, 31)
    with Stage(runtime.database).queue() as queue:
        with runtime.database.transaction() as connection:
            assert insert_redelivery(connection, company_id, webhook.id, event_id)
            queue.add(sweeper.sweep)
        assert queue.results() == [1]
    assert (webhook.deliveries(), _mismatches(runtime)) == ({}, 0)
