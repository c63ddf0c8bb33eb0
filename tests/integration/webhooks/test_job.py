"""The background job of a worker: slow receivers next to quick ones, stops and outages."""

import logging
from collections.abc import Iterator
from threading import Thread
from time import monotonic

import pytest

from persistence.webhooks.deliveries import list_ready_webhooks
from promo_api.dev.processes import wait_until
from promo_api.errors import ServiceUnavailable
from promo_api.webhooks import job as job_module, sender
from promo_api.webhooks.job import WebhookJob
from tests.integration.webhooks.shop import Shop
from tests.webhook_receiver import Receiver, hang, hang_after

_WAIT_S = 30


@pytest.fixture
def job(shop: Shop) -> Iterator[WebhookJob]:
    """A job that is not started yet."""
    job = WebhookJob(shop.settings, shop.runtime.database)
    yield job
    if job._thread.is_alive():
        job.stop()


def test_events_are_delivered_soon(shop: Shop, receiver: Receiver, job: WebhookJob) -> None:
    """An event is delivered within a second of its publication, also after a quiet time."""
    hook = shop.add(receiver.url)
    job.start()
    for number in range(1, 4):
        shop.publish()
        published_s = monotonic()
        receiver.wait_for(number)
        assert monotonic() - published_s < 1.5
        assert wait_until(lambda count=number: shop.results(hook) == [("succeeded", 204, None)] * count, _WAIT_S)


def test_hanging_receivers_delay_no_other(shop: Shop, receiver: Receiver, job: WebhookJob) -> None:
    """While several receivers hang, another one receives all its events; each of the former holds one request."""
    with Receiver(hang) as hanging:
        for _ in range(5):
            shop.add(hanging.url)
        hook = shop.add(receiver.url)
        shop.publish(200)
        job.start()
        receiver.wait_for(200)
        assert wait_until(lambda: {each[0] for each in shop.results(hook)} == {"succeeded"}, _WAIT_S)
        assert len(hanging.requests) == 5


def test_receiver_that_begins_to_hang(shop: Shop, receiver: Receiver, job: WebhookJob) -> None:
    """A receiver that was quick and begins to hang holds at most 32 requests, and delays no other."""
    with Receiver(hang_after(300)) as hanging:
        shop.add(hanging.url)
        shop.publish(600)
        job.start()
        hanging.wait_for(332)
        hook = shop.add(receiver.url)
        shop.publish(100)
        receiver.wait_for(100)
        assert wait_until(lambda: {each[0] for each in shop.results(hook)} == {"succeeded"}, _WAIT_S)
        assert len(hanging.requests) == 332


def test_stop(shop: Shop, job: WebhookJob) -> None:
    """A stop does not wait for a receiver that hangs. Another worker repeats the requests after their leases."""
    with Receiver(hang_after(200)) as hanging:
        hook = shop.add(hanging.url)
        shop.publish(400)
        job.start()
        hanging.wait_for(232)
        began_s = monotonic()
        job.stop()
        assert monotonic() - began_s < 4
    assert {each[0] for each in shop.results(hook)} == {"succeeded", "pending"}


def test_stop_waits_for_running_requests(shop: Shop, job: WebhookJob) -> None:
    """A request that ends soon after the stop began is recorded, and the rest of its batch is due at once."""
    with Receiver(hang_after(127)) as hanging:
        hook = shop.add(hanging.url)
        shop.publish(400)
        job.start()
        hanging.wait_for(127 + 32)
        stopping = Thread(target=job.stop)
        stopping.start()
        assert wait_until(job._stopped.is_set, _WAIT_S)
        hanging.release()
        stopping.join()
        results = [each[0] for each in shop.results(hook)]
        assert results.count("succeeded") == len(hanging.requests)
        assert {each.pause.total_seconds() <= 0 for each in shop.deliveries(hook) if each.pause} == {True}


def test_outage(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """During an outage of PostgreSQL the job pauses, with one line for each attempt, and goes on after it."""
    failures = 3

    def fail(connection: object, **values: object) -> list[object]:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ServiceUnavailable("", reason="outage")
        return list_ready_webhooks(connection, **values)  # type: ignore[arg-type, return-value]

    monkeypatch.setattr(sender, "list_ready_webhooks", fail)
    monkeypatch.setattr(job_module, "_PAUSE_S", 0.01)
    caplog.set_level(logging.WARNING, "promo_api.background")
    job = WebhookJob(shop.settings, shop.runtime.database)
    shop.add(receiver.url)
    shop.publish()
    job.start()
    try:
        receiver.wait_for(1)
    finally:
        job.stop()
    lines = [record.__dict__ for record in caplog.records if record.message == "job_failed"]
    assert [(line["job"], line["reason"]) for line in lines] == [("webhooks", "outage")] * 3


def test_outage_during_requests(shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """If results can't be stored because PostgreSQL is unavailable, the events are delivered again after the lease."""
    failures = 1

    def fail(*values: object) -> object:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ServiceUnavailable("", reason="outage")
        return original(*values)  # type: ignore[arg-type]

    original = sender.store_results
    monkeypatch.setattr(sender, "store_results", fail)
    monkeypatch.setattr(job_module, "_PAUSE_S", 0.01)
    job = WebhookJob(shop.settings, shop.runtime.database)
    hook = shop.add(receiver.url)
    shop.publish()
    job.start()
    try:
        receiver.wait_for(1)
        assert wait_until(lambda: failures == 0, _WAIT_S)
        shop.wait(60)
        receiver.wait_for(2)
        assert wait_until(lambda: shop.results(hook) == [("succeeded", 204, None)], _WAIT_S)
    finally:
        job.stop()
    assert len({*receiver.event_ids}) == 1


def test_defect(
    shop: Shop, receiver: Receiver, job: WebhookJob, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect with one webhook is logged, and does not stop the others."""
    monkeypatch.undo()
    broken, hook = shop.add(receiver.url), shop.add(receiver.url)
    original = sender.store_results

    def fail(database: object, batch: object, *values: object) -> object:
        if batch.webhook.id == broken.id:  # type: ignore[attr-defined]
            raise RuntimeError("a defect")
        return original(database, batch, *values)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(sender, "store_results", fail)
        shop.publish(20)
        job.start()
        assert wait_until(lambda: {each[0] for each in shop.results(hook)} == {"succeeded"}, _WAIT_S)
        job.stop()
    assert [record.message for record in caplog.records if record.message == "webhook_defect"] == ["webhook_defect"]
