"""Deliveries: which events a webhook receives, in which form, and how often."""

import asyncio
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from sqlalchemy import delete
from standardwebhooks import Webhook, WebhookVerificationError

from persistence.schema.event_tables import events
from persistence.schema.webhook_tables import deliveries
from persistence.webhooks.deliveries import Result, claim_deliveries, update_deliveries
from promo_api import __version__
from promo_api.security.webhook_secrets import WebhookSecrets
from tests.integration.events import publish
from tests.integration.webhooks.shop import Shop
from tests.metric_delta import MetricDelta
from tests.webhook_receiver import Receiver, with_status


@pytest.mark.usefixtures("each_form")
def test_delivery(shop: Shop, receiver: Receiver) -> None:
    """The body is the event of the list, and the library of the specification verifies its signature."""
    hook, counted = shop.add(receiver.url), MetricDelta()
    shop.company.create_promo()
    publish(shop.runtime)
    shop.deliver()
    [event] = shop.company.get("/business/events").json()
    [request] = receiver.requests
    assert Webhook(hook.secret).verify(request.body, request.headers) == event == request.event
    assert request.headers["webhook-id"] == event["id"]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"promo-api/{__version__}"
    [delivery] = shop.deliveries(hook)
    assert (delivery.state, delivery.status, delivery.error) == ("succeeded", 204, None)
    assert (delivery.attempts, delivery.due_at) == (1, None)
    assert delivery.attempted_at is not None
    assert counted("promo_webhook_deliveries_total", result="succeeded") == 1
    assert counted("promo_webhook_request_duration_seconds_count") == 1
    shop.deliver()
    assert len(receiver.requests) == 1


def test_event_types(shop: Shop, receiver: Receiver) -> None:
    """A webhook with types receives only these; one without receives all."""
    hooks = [shop.add(receiver.url, event_types=types) for types in ([], ["promo.changed"], ["codes.imported"])]
    shop.write("promo.changed")
    shop.write("promo.created")
    assert [len(shop.deliveries(hook)) for hook in hooks] == [2, 1, 0]


def test_test_events(shop: Shop, receiver: Receiver) -> None:
    """A test event is delivered to its webhook only, also if the webhook has other types."""
    tested, other = shop.add(receiver.url, event_types=["promo.changed"]), shop.add(receiver.url)
    shop.write("webhook.test", webhook_id=str(tested.id))
    assert [len(shop.deliveries(hook)) for hook in (tested, other)] == [1, 0]
    shop.deliver()
    [request] = receiver.requests
    assert (request.event["type"], request.event["data"]) == ("webhook.test", {"webhook_id": str(tested.id)})


def test_only_enabled_webhooks(shop: Shop, receiver: Receiver) -> None:
    """A disabled, a deleted, and a later webhook receive no event of this time."""
    hooks = [shop.add(receiver.url, enabled=False), shop.add(receiver.url, deleted_at=datetime.now(UTC))]
    shop.publish()
    hooks.append(shop.add(receiver.url))
    assert [shop.deliveries(hook) for hook in hooks] == [[], [], []]


def test_other_companies(shop: Shop, receiver: Receiver) -> None:
    """Events of another company are not delivered."""
    shop.add(receiver.url)
    other = shop.company.api.sign_up_company()
    other.create_promo()
    publish(shop.runtime)
    shop.deliver()
    assert receiver.requests == []


@pytest.mark.usefixtures("each_form")
def test_disabled_while_pending(shop: Shop, receiver: Receiver) -> None:
    """What is pending when a webhook is disabled stays so, and is delivered after it is enabled."""
    hook = shop.add(receiver.url)
    shop.publish(3)
    shop.change(hook, enabled=False)
    shop.deliver()
    assert receiver.requests == []
    assert {each.state for each in shop.deliveries(hook)} == {"pending"}
    shop.change(hook, enabled=True)
    shop.deliver()
    assert len(receiver.requests) == 3


def test_rotation(shop: Shop, receiver: Receiver) -> None:
    """After a rotation the previous secret signs too, until its time is over."""
    previous = WebhookSecrets.generate()
    stored = WebhookSecrets(shop.settings.secret_keys).encrypt(previous)
    hook = shop.add(receiver.url, previous_secret=stored, previous_until=datetime.now(UTC) + timedelta(hours=24))
    shop.publish()
    shop.deliver()
    shop.wait(86400)
    shop.publish()
    shop.deliver()
    first, second = receiver.requests
    for request, secrets in ((first, (hook.secret, previous)), (second, (hook.secret,))):
        assert len(request.headers["webhook-signature"].split(" ")) == len(secrets)
        for secret in secrets:
            Webhook(secret).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(previous).verify(second.body, second.headers)


def test_previous_secret_key(shop: Shop, receiver: Receiver) -> None:
    """A secret that an earlier SECRET_KEY has encrypted signs, while the key is listed."""
    keys = shop.settings.secret_key
    hook = shop.add(receiver.url)
    shop.publish()
    shop.deliver(secret_key=f"{'a new key ' * 5},{keys}")
    [request] = receiver.requests
    Webhook(hook.secret).verify(request.body, request.headers)


def test_unreadable_secret(shop: Shop, receiver: Receiver) -> None:
    """With a secret that no key decrypts nothing is sent, and the failure says so. Other webhooks are not affected."""
    broken, fine = shop.add(receiver.url, secret="no secret"), shop.add(receiver.url)
    shop.publish()
    shop.deliver()
    assert shop.results(broken) == [("pending", None, "secret_unreadable")]
    assert shop.results(fine) == [("succeeded", 204, None)]
    assert len(receiver.requests) == 1


def test_deleted_event(shop: Shop, receiver: Receiver) -> None:
    """A delivery whose event was deleted is given up, and the others go on."""
    hook = shop.add(receiver.url)
    shop.publish(2)
    [first, _] = shop.deliveries(hook)
    with shop.runtime.database.autocommit() as connection:
        connection.execute(delete(events).where(events.c.id == first.event_id))
    shop.deliver()
    assert shop.results(hook) == [("failed", None, "event_deleted"), ("succeeded", 204, None)]
    assert shop.hook(hook).failing_since is None
    # Other tests find no delivery without its event.
    with shop.runtime.database.autocommit() as connection:
        connection.execute(delete(deliveries).where(deliveries.c.event_id == first.event_id))


def test_too_large(shop: Shop, receiver: Receiver) -> None:
    """An event of more than 64 KiB is not sent, and this does not count against the receiver."""
    hook = shop.add(receiver.url)
    shop.write("promo.changed", members=["x" * 65536])
    shop.publish()
    shop.deliver()
    assert shop.results(hook) == [("failed", None, "too_large"), ("succeeded", 204, None)]
    assert shop.hook(hook).failing_since is None


@pytest.mark.usefixtures("each_form")
def test_many_deliveries(shop: Shop, receiver: Receiver) -> None:
    """Many events are delivered, each once, over few connections."""
    hook = shop.add(receiver.url)
    shop.publish(700)
    shop.deliver()
    assert len(receiver.requests) == len({*receiver.event_ids}) == 700
    assert shop.results(hook) == [("succeeded", 204, None)] * 700


@pytest.mark.usefixtures("each_form")
def test_two_processes(shop: Shop, receiver: Receiver) -> None:
    """Two senders at the same time deliver each event once."""
    hooks = [shop.add(receiver.url) for _ in range(3)]
    shop.publish(300)
    threads = [Thread(target=lambda: asyncio.run(shop.send())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.requests) == 900
    assert all({each.state for each in shop.deliveries(hook)} == {"succeeded"} for hook in hooks)


def test_lease(shop: Shop, receiver: Receiver) -> None:
    """What a killed process has leased is delivered after the lease."""
    hook = shop.add(receiver.url)
    shop.publish(5)
    with shop.runtime.database.autocommit() as connection:
        claim_deliveries(connection, shop.id, hook.id, limit=3, lease=timedelta(seconds=60))
    shop.deliver()
    assert len(receiver.requests) == 2
    shop.wait(60)
    shop.deliver()
    assert len({*receiver.event_ids}) == 5


@pytest.mark.usefixtures("each_form")
def test_locked_deliveries(shop: Shop, receiver: Receiver) -> None:
    """A process does not wait for deliveries that another one is leasing: it leases others."""
    hook = shop.add(receiver.url)
    shop.publish(3)
    database = shop.runtime.database
    with database.transaction() as first, database.autocommit() as second:
        batches = [
            claim_deliveries(connection, shop.id, hook.id, limit=2, lease=timedelta(seconds=60))
            for connection in (first, second)
        ]
    ids = [{each.event_id for each in batch.deliveries} for batch in batches if batch is not None]
    assert [*map(len, ids)] == [2, 1]
    assert ids[0].isdisjoint(ids[1])


def test_failing_webhook(shop: Shop, receiver: Receiver) -> None:
    """One process at a time asks a failing webhook, with one delivery; if it dies, another one asks after the lease."""
    hook = shop.add(receiver.url, failures=3, failing_since=datetime.now(UTC), paused_until=datetime.now(UTC))
    shop.publish(3)

    def claim() -> int:
        with shop.runtime.database.autocommit() as connection:
            batch = claim_deliveries(connection, shop.id, hook.id, limit=2, lease=timedelta(seconds=60))
        return 0 if batch is None else len(batch.deliveries)

    assert [claim(), claim()] == [1, 0]
    shop.wait(60)
    assert [claim(), claim()] == [1, 0]


@pytest.mark.usefixtures("each_form")
@pytest.mark.parametrize("has_succeeded", [True, False])
def test_late_result(shop: Shop, receiver: Receiver, *, has_succeeded: bool) -> None:
    """A result that comes after the lease changes nothing: another process has the delivery."""
    hook = shop.add(receiver.url)
    shop.publish()
    with shop.runtime.database.autocommit() as connection:
        batch = claim_deliveries(connection, shop.id, hook.id, limit=1, lease=timedelta(seconds=60))
    assert batch is not None
    shop.wait(60)
    receiver.respond = with_status(500)
    shop.deliver()
    [before] = shop.deliveries(hook)
    result = Result(before.event_id, has_succeeded, 200, None, None if has_succeeded else 5.0)
    with shop.runtime.database.autocommit() as connection:
        update_deliveries(connection, batch, [result], lifetime=timedelta(days=3))
    [after] = shop.deliveries(hook)
    assert after[:-1] == before[:-1]
