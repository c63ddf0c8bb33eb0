"""The background jobs of webhooks: deletion, redelivery, secrets and metrics."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, select

from persistence.database.statements import is_distributed
from persistence.schema.event_tables import events
from persistence.schema.webhook_tables import deliveries, webhooks
from persistence.webhooks.deliveries import list_ready_webhooks
from persistence.webhooks.upkeep import FIRST_WEBHOOK, WebhookCounts, count_webhooks
from promo_api.runtime import Runtime
from promo_api.security.webhook_secrets import WebhookSecrets
from promo_api.telemetry import metrics
from promo_api.webhook_sweepers import (
    deleted_webhooks_sweeper,
    redeliveries_sweeper,
    webhook_secrets_sweeper,
    webhooks_job,
)
from tests.integration.events import age, event_ids, publish, publish_new, sweeper_of_old_events
from tests.integration.stored_webhooks import StoredWebhook, delete_all, store_webhook

_PAST = datetime(2026, 1, 2, tzinfo=UTC)
_FAILED = {"state": "failed", "due_at": None, "attempts": 9, "created_at": _PAST}


@pytest.fixture(autouse=True)
def _no_others(runtime: Runtime) -> Iterator[None]:
    delete_all(runtime.database)
    yield
    delete_all(runtime.database)


def _redeliver(runtime: Runtime) -> None:
    sweeper = redeliveries_sweeper(runtime.database)
    while sweeper.sweep():
        pass


@pytest.mark.usefixtures("each_form")
def test_deletion(runtime: Runtime) -> None:
    """A deleted webhook and its deliveries are deleted in portions; others of the company stay."""
    webhook = store_webhook(runtime.database)
    other = store_webhook(runtime.database, webhook.company_id)
    ids = [uuid4() for _ in range(1200)]
    for each in (webhook, other):
        each.deliver(ids)
    webhook.change(deleted_at=_PAST)
    sweeper = deleted_webhooks_sweeper(runtime.database)
    assert sweeper.sweep() == 1000
    assert webhook.read() is not None, "it must stay until its last delivery is deleted"
    assert [sweeper.sweep() for _ in range(2)] == [201, 0]
    assert (webhook.read(), webhook.deliveries()) == (None, {})
    assert len(other.deliveries()) == 1200


@pytest.mark.usefixtures("each_form")
def test_deletion_skips_locked_rows(runtime: Runtime) -> None:
    """A delivery that a sender has locked is deleted later, and the webhook after it."""
    webhook = store_webhook(runtime.database)
    webhook.deliver([uuid4() for _ in range(3)])
    webhook.change(deleted_at=_PAST)
    sweeper = deleted_webhooks_sweeper(runtime.database)
    with runtime.database.transaction() as connection:
        connection.execute(select(deliveries).where(webhook.has_delivery()).limit(1).with_for_update())
        assert [sweeper.sweep() for _ in range(2)] == [2, 0]
    assert webhook.read() is not None
    assert [sweeper.sweep() for _ in range(2)] == [2, 0]
    assert webhook.read() is None


def test_webhook_stays_while_deliveries_are_inserted(runtime: Runtime) -> None:
    """A webhook is not deleted while a publisher, which has read it before, inserts deliveries."""
    webhook = store_webhook(runtime.database)
    sweeper = deleted_webhooks_sweeper(runtime.database)
    with runtime.database.transaction() as publisher:
        publisher.execute(select(webhooks).where(webhook.is_webhook()).with_for_update(read=True, key_share=True))
        webhook.change(deleted_at=_PAST)
        assert sweeper.sweep() == 0
    assert sweeper.sweep() == 1


def test_redelivery(runtime: Runtime) -> None:
    """Missing deliveries are inserted and failed ones start again; pending and successful ones stay."""
    company_id, ids = publish_new(runtime, 6)
    webhook = store_webhook(runtime.database, company_id, redeliver_after=1)
    webhook.deliver(ids[2:3], **_FAILED)
    webhook.deliver(ids[3:4], attempts=2, due_at=_PAST, created_at=_PAST)
    webhook.deliver(ids[4:5], state="succeeded", due_at=None, created_at=_PAST)
    before = webhook.deliveries()
    _redeliver(runtime)
    after = webhook.deliveries()
    assert list(after) == ids[1:], "the event before `redeliver_after` is not delivered"
    assert {event_id: after[event_id] for event_id in ids[3:5]} == {id_: before[id_] for id_ in ids[3:5]}
    for event_id in (ids[1], ids[2], ids[5]):
        row = after[event_id]
        assert (row.state, row.attempts) == ("pending", 0)
        assert timedelta() <= runtime.clock() - row.due_at < timedelta(minutes=1)
        assert timedelta() <= runtime.clock() - row.created_at < timedelta(minutes=1)
    row = webhook.read()
    assert row is not None
    assert row["redeliver_after"] is None


def test_redelivery_in_portions(runtime: Runtime) -> None:
    """A step reads a thousand events, and stores how far it has come; later events are not read twice."""
    company_id, ids = publish_new(runtime, 2300)
    webhook = store_webhook(runtime.database, company_id, redeliver_after=0)
    sweeper = redeliveries_sweeper(runtime.database)
    steps = []
    for _ in range(4):
        steps.append(sweeper.sweep())
        row = webhook.read()
        assert row is not None
        steps.append(row["redeliver_after"])
    assert steps == [1000, 1000, 1000, 2000, 300, None, 0, None]
    assert list(webhook.deliveries()) == ids


@pytest.mark.parametrize("selected", [[], ["promo.changed", "webhook.test", "webhook.disabled"], ["codes.imported"]])
def test_types(runtime: Runtime, selected: list[str]) -> None:
    """Only selected types are delivered again; a test only to its webhook, and `webhook.disabled` only to others."""
    company_id, webhook_id, other_id = uuid4(), uuid4(), uuid4()
    stored: list[tuple[str, dict[str, Any]]] = [
        ("promo.changed", {}),
        ("codes.imported", {}),
        ("webhook.test", {"webhook_id": str(webhook_id)}),
        ("webhook.test", {"webhook_id": str(other_id)}),
        ("webhook.disabled", {"webhook_id": str(webhook_id)}),
        ("webhook.disabled", {"webhook_id": str(other_id)}),
    ]
    rows = [{"company_id": company_id, "type": type_, "data": data} for type_, data in stored]
    with runtime.database.autocommit() as connection:
        for row in rows:
            connection.execute(insert(events), row)
    publish(runtime)
    ids = event_ids(runtime.database, company_id)
    webhook = store_webhook(runtime.database, company_id, id=webhook_id, event_types=selected, redeliver_after=0)
    webhook = StoredWebhook(runtime.database, company_id, webhook_id)
    _redeliver(runtime)
    expected = {"promo.changed": {0, 2, 5}, "codes.imported": {1, 2}}[selected[0]] if selected else {0, 1, 2, 5}
    assert set(webhook.deliveries()) == {ids[place] for place in expected}


@pytest.mark.parametrize("values", [{"enabled": False}, {"deleted_at": _PAST}])
def test_no_redelivery(runtime: Runtime, values: dict[str, Any]) -> None:
    """A disabled webhook waits until it is enabled, and a deleted one gets nothing."""
    company_id, _ = publish_new(runtime, 2)
    webhook = store_webhook(runtime.database, company_id, redeliver_after=0, **values)
    _redeliver(runtime)
    assert webhook.deliveries() == {}
    webhook.change(enabled=True)
    _redeliver(runtime)
    assert len(webhook.deliveries()) == (0 if "deleted_at" in values else 2)


def test_redeliveries_take_turns(runtime: Runtime) -> None:
    """A webhook that another process works on does not block others."""
    (busy_id, _), (company_id, ids) = publish_new(runtime, 2), publish_new(runtime, 2)
    busy = store_webhook(runtime.database, busy_id, redeliver_after=0)
    webhook = store_webhook(runtime.database, company_id, redeliver_after=0)
    with runtime.database.transaction() as connection:
        connection.execute(select(webhooks).where(busy.is_webhook()).with_for_update(key_share=True))
        _redeliver(runtime)
        assert (list(webhook.deliveries()), busy.deliveries()) == (ids, {})


def test_deliveries_of_old_events(runtime: Runtime) -> None:
    """The deliveries of an event are deleted with it, in each state and also those of a deleted webhook."""
    sweeper = sweeper_of_old_events(runtime)
    company_id, ids = publish_new(runtime, 3)
    webhook = store_webhook(runtime.database, company_id)
    deleted = store_webhook(runtime.database, company_id, deleted_at=_PAST)
    webhook.deliver(ids[:1], **_FAILED)
    webhook.deliver(ids[1:])
    deleted.deliver(ids)
    of_other = store_webhook(runtime.database)
    of_other.deliver(ids)
    age(runtime.database, ids[:2], 30)
    assert [sweeper.sweep() for _ in range(2)] == [2, 0]
    assert [list(each.deliveries()) for each in (webhook, deleted)] == [ids[2:]] * 2
    assert list(of_other.deliveries()) == ids, "its company has other events"


def test_secrets_are_encrypted_again(runtime: Runtime) -> None:
    """Secrets of an earlier SECRET_KEY are encrypted with the first; an unreadable one stays."""
    old, both, new = WebhookSecrets(["old"]), WebhookSecrets(["new", "old"]), WebhookSecrets(["new"])
    secrets = [old.generate() for _ in range(3)]
    times = {"previous_until": runtime.clock() + timedelta(hours=1)}
    first = store_webhook(
        runtime.database, secret=old.encrypt(secrets[0]), previous_secret=old.encrypt(secrets[1]), **times
    )
    current = store_webhook(runtime.database, secret=new.encrypt(secrets[2]))
    unreadable = store_webhook(runtime.database, secret="lost")
    before = current.read()
    sweeper = webhook_secrets_sweeper(runtime.database, both)
    assert [sweeper.sweep() for _ in range(2)] == [2, 0]
    row = first.read()
    assert row is not None
    assert [new.decrypt(row[name]) for name in ("secret", "previous_secret")] == secrets[:2]
    assert (current.read(), (unreadable.read() or {})["secret"]) == (before, "lost")


def test_secrets_in_turns(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step reads the next webhooks, and begins again after the last."""
    monkeypatch.setattr("promo_api.webhook_sweepers._SECRETS", 2)
    old, both = WebhookSecrets(["old"]), WebhookSecrets(["new", "old"])
    webhooks = [store_webhook(runtime.database, secret=old.encrypt("whsec_")) for _ in range(5)]
    sweeper = webhook_secrets_sweeper(runtime.database, both)
    assert [sweeper.sweep() for _ in range(3)] == [2, 2, 1]
    webhooks[0].change(secret=old.encrypt("whsec_"))
    assert sum(sweeper.sweep() for _ in range(3)) == 1


def test_secret_that_was_rotated_meanwhile(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that a company rotates while the sweeper runs stays as it is."""
    old, both = WebhookSecrets(["old"]), WebhookSecrets(["new", "old"])
    webhook = store_webhook(runtime.database, secret=old.encrypt("whsec_"))
    reencrypt = both.reencrypt

    def rotate_and_reencrypt(stored: str) -> str | None:
        webhook.change(secret="rotated")
        return reencrypt(stored)

    monkeypatch.setattr(both, "reencrypt", rotate_and_reencrypt)
    assert webhook_secrets_sweeper(runtime.database, both).sweep() == 0
    assert (webhook.read() or {})["secret"] == "rotated"


@pytest.mark.usefixtures("each_form")
def test_ready_webhooks(runtime: Runtime) -> None:
    """Enabled webhooks with due deliveries are listed page by page, in the order of their companies and ids."""
    later = runtime.clock() + timedelta(hours=1)
    for values in ({"enabled": False}, {"deleted_at": _PAST}, {"paused_until": later}):
        store_webhook(runtime.database, **values).deliver([uuid4()])
    store_webhook(runtime.database).deliver([uuid4()], due_at=later)
    store_webhook(runtime.database)
    ready = [store_webhook(runtime.database) for _ in range(3)]
    ready.append(store_webhook(runtime.database, ready[0].company_id, paused_until=_PAST))
    for webhook in ready:
        webhook.deliver([uuid4(), uuid4()])
    keys = sorted((webhook.company_id, webhook.id) for webhook in ready)
    with runtime.database.autocommit() as connection:
        assert list_ready_webhooks(connection, after=FIRST_WEBHOOK, limit=3) == keys[:3]
        assert list_ready_webhooks(connection, after=keys[2], limit=3) == keys[3:]


def _count(runtime: Runtime, limit: int = 1000, webhooks_limit: int = 1000) -> WebhookCounts:
    with runtime.database.autocommit() as connection:
        return count_webhooks(connection, limit=limit, webhooks_limit=webhooks_limit)


@pytest.mark.usefixtures("each_form")
def test_counts(runtime: Runtime) -> None:
    """Webhooks count by state; pending deliveries only of enabled webhooks, and their age only while none fails."""
    assert _count(runtime) == WebhookCounts(0, 0, 0, 0, 0)
    now = runtime.clock()
    failing = {"failing_since": _PAST, "failures": 1}
    for minutes, values in (
        (10, {}),
        (20, failing),
        (30, {"enabled": False, "disabled_at": _PAST, "disabled_reason": "gone"}),
        (40, {"enabled": False}),
        (50, {"deleted_at": _PAST}),
    ):
        due = {"due_at": now - timedelta(minutes=minutes)}
        store_webhook(runtime.database, **values).deliver([uuid4(), uuid4()], **due)
    healthy = store_webhook(runtime.database)
    healthy.deliver([uuid4()], due_at=now + timedelta(hours=1))
    healthy.deliver([uuid4()], state="succeeded", due_at=None)
    counts = _count(runtime)
    assert (counts.enabled, counts.failing, counts.disabled, counts.pending) == (3, 1, 1, 5)
    assert 600 <= counts.oldest_due_s < 660
    bounded = _count(runtime, limit=2)
    assert (bounded.pending, bounded.enabled <= 2) == (2, True)


def test_counts_of_few_webhooks(runtime: Runtime) -> None:
    """Only some webhooks with pending deliveries are read, except with Citus."""
    with runtime.database.autocommit() as connection:
        if is_distributed(connection):
            pytest.skip("Citus")
    for _ in range(3):
        store_webhook(runtime.database).deliver([uuid4(), uuid4()])
    assert [_count(runtime, webhooks_limit=number).pending for number in (1, 2, 3)] == [2, 4, 6]


@pytest.mark.usefixtures("each_form")
def test_nothing_is_due(runtime: Runtime) -> None:
    """Deliveries that are due later have no age."""
    store_webhook(runtime.database).deliver([uuid4()], due_at=runtime.clock() + timedelta(hours=1))
    assert (_count(runtime).pending, _count(runtime).oldest_due_s) == (1, 0)


def test_metrics(runtime: Runtime) -> None:
    """The counts are published as metrics."""
    store_webhook(runtime.database).deliver([uuid4()], due_at=runtime.clock() - timedelta(minutes=1))
    webhooks_job(runtime.database)._run()
    read = metrics.REGISTRY.get_sample_value
    states = [read("promo_webhooks", {"state": state}) for state in ("enabled", "failing", "disabled")]
    assert (states, read("promo_webhook_deliveries_pending")) == ([1, 0, 0], 1)
    age_s = read("promo_webhook_deliveries_oldest_due_seconds")
    assert age_s is not None
    assert 60 <= age_s < 120
