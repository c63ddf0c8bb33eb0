"""Failures: when a delivery is tried again, when a webhook is paused, and when it is disabled."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from tests.integration.webhooks.shop import Shop
from tests.metric_delta import MetricDelta
from tests.webhook_receiver import Receiver, accept, with_status

_DAY_S = 86400


def _seconds(pause: timedelta | None) -> float:
    assert pause is not None
    return pause.total_seconds()


def _is_between(pause: timedelta | None, low: float, high: float) -> bool:
    """Return whether a pause is in a range, less a second in which the test ran."""
    return low - 1 <= _seconds(pause) <= high


@pytest.mark.usefixtures("each_form")
def test_retry(shop: Shop, receiver: Receiver) -> None:
    """After a failure the webhook is paused for about 5 s, and the same delivery follows then; success ends this."""
    receiver.respond, counted = with_status(500), MetricDelta()
    hook = shop.add(receiver.url)
    shop.publish()
    shop.deliver()
    shop.deliver()
    assert len(receiver.requests) == 1
    assert shop.results(hook) == [("pending", 500, None)]
    row = shop.hook(hook)
    assert (row.failures, row.enabled) == (1, True)
    assert row.failing_since is not None
    assert _is_between(row.pause, 3.75, 5)
    assert _is_between(shop.deliveries(hook)[0].pause, 3.75, 5)
    assert counted("promo_webhook_deliveries_total", result="refused") == 1
    receiver.respond = accept
    shop.wait(5)
    shop.deliver()
    assert shop.results(hook) == [("succeeded", 204, None)]
    assert receiver.event_ids[0] == receiver.event_ids[1]
    assert receiver.requests[0].body == receiver.requests[1].body
    row = shop.hook(hook)
    assert (row.failures, row.failing_since, row.paused_until) == (0, None, None)


def test_pauses(shop: Shop, receiver: Receiver) -> None:
    """Pauses of a webhook double up to 5 minutes; those of a delivery up to a day, and it is given up after 3 days."""
    receiver.respond = with_status(503)
    hook = shop.add(receiver.url)
    shop.publish()
    pauses, attempts, waited_s = [], [], 0.0
    while True:
        shop.deliver()
        [delivery] = shop.deliveries(hook)
        pauses.append(_seconds(shop.hook(hook).pause))
        if delivery.state == "failed":
            break
        attempts.append(_seconds(delivery.pause))
        waited_s += max(attempts[-1], pauses[-1])
        # The failures of other deliveries would disable the webhook before; here the delivery is followed to its end.
        shop.wait(max(attempts[-1], pauses[-1]))
        shop.change(hook, failing_since=datetime.now(UTC))
    assert len(attempts) == delivery.attempts - 1 >= 16
    assert all(
        0.75 * min(5 * 2**n, _DAY_S) - 1 <= pause <= min(5 * 2**n, _DAY_S) for n, pause in enumerate(attempts[:-1])
    )
    assert all(0.75 * min(5 * 2**n, 300) - 1 <= pause <= min(5 * 2**n, 300) for n, pause in enumerate(pauses))
    assert 3 * _DAY_S - 20 <= waited_s <= 3 * _DAY_S + 20
    assert (delivery.state, delivery.due_at) == ("failed", None)
    assert len(receiver.requests) == len(attempts) + 1


@pytest.mark.parametrize(
    "form", [str, lambda s: format_datetime(datetime.now(UTC) + timedelta(seconds=s), usegmt=True)]
)
@pytest.mark.parametrize(("seconds", "pause_s"), [(0, 5), (90, 90), (7200, 7200), (10 * _DAY_S, _DAY_S)])
def test_retry_after(shop: Shop, receiver: Receiver, form: Callable[[int], str], seconds: int, pause_s: int) -> None:
    """Retry-After, in seconds or as a date, is the pause of the webhook and of the delivery: from 5 s to a day."""
    receiver.respond = with_status(429, Retry_After=form(seconds))
    hook = shop.add(receiver.url)
    shop.publish()
    shop.deliver()
    assert _is_between(shop.hook(hook).pause, pause_s - 2, pause_s)
    assert _is_between(shop.deliveries(hook)[0].pause, pause_s - 2, pause_s)


def test_gone(shop: Shop, receiver: Receiver) -> None:
    """A 410 disables the webhook with an event; the delivery has failed, and others stay pending."""
    receiver.respond = with_status(410)
    hook, other = shop.add(receiver.url), shop.add(receiver.url, event_types=["webhook.disabled"])
    # Not at once: both would be due at the same moment, and either could be sent first.
    shop.publish()
    shop.publish()
    shop.deliver()
    assert [each[0] for each in shop.results(hook)] == ["failed", "pending"]
    row = shop.hook(hook)
    assert (row.enabled, row.disabled_reason) == (False, "gone")
    assert row.disabled_at is not None
    assert row.mail_due_at is not None
    assert shop.types().count("webhook.disabled") == 1
    assert shop.deliveries(hook)[-1].state == "pending"
    assert len(shop.deliveries(hook)) == 2
    receiver.respond = accept
    shop.deliver()
    [_, disabled] = receiver.requests
    assert disabled.event["data"] == {"webhook_id": str(hook.id), "reason": "gone"}
    assert len(shop.deliveries(other)) == 1


@pytest.mark.usefixtures("each_form")
def test_failing_for_three_days(shop: Shop, receiver: Receiver) -> None:
    """A webhook that has failed for three days is disabled once, with an event; its deliveries stay pending."""
    receiver.respond = with_status(500)
    hook = shop.add(receiver.url)
    shop.publish()
    shop.deliver()
    shop.wait(3 * _DAY_S - 60)
    shop.publish()
    shop.deliver()
    assert shop.hook(hook).enabled
    shop.wait(600)
    shop.publish(3)
    for _ in range(2):
        shop.deliver()
        shop.wait(600)
    row = shop.hook(hook)
    assert (row.enabled, row.disabled_reason) == (False, "failing")
    assert shop.types().count("webhook.disabled") == 1
    assert len(receiver.requests) == 3


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect(shop: Shop, receiver: Receiver, status: int) -> None:
    """A redirect is a failure, and is not followed."""
    with Receiver(with_status(status, Location=receiver.url)) as redirecting:
        hook = shop.add(redirecting.url)
        shop.publish()
        shop.deliver()
        assert shop.results(hook) == [("pending", status, None)]
        assert (len(redirecting.requests), receiver.requests) == (1, [])


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success(shop: Shop, receiver: Receiver, status: int) -> None:
    """Each status from 200 to 299 is a success."""
    receiver.respond = with_status(status)
    hook = shop.add(receiver.url)
    shop.publish()
    shop.deliver()
    assert shop.results(hook) == [("succeeded", status, None)]


def test_receiver_that_is_down_is_asked_once(shop: Shop, receiver: Receiver) -> None:
    """A receiver that is down gets one request after each pause, and everything at once when it works again."""
    receiver.respond = with_status(500)
    hook = shop.add(receiver.url)
    shop.publish(100)
    for number in range(1, 5):
        shop.deliver()
        assert len(receiver.requests) == number
        shop.wait(300)
    assert {each.pause.total_seconds() > 0 for each in shop.deliveries(hook)} == {False}
    receiver.respond = accept
    shop.deliver()
    assert len({*receiver.event_ids[4:]}) == 100
    assert shop.results(hook) == [("succeeded", 204, None)] * 100


@pytest.mark.usefixtures("each_form")
def test_failure_within_a_batch(shop: Shop, receiver: Receiver) -> None:
    """After the first failure in a batch few requests follow, and the rest is due again at the end of the pause."""

    async def fail_later(receiver: Receiver, _request: web.Request) -> web.Response:
        return web.Response(status=204 if len(receiver.requests) <= 200 else 500)

    receiver.respond = fail_later
    hook = shop.add(receiver.url)
    shop.publish(400)
    shop.deliver()
    assert 200 < len(receiver.requests) <= 232
    row = shop.hook(hook)
    assert row.failures == 1
    pauses = [each.pause.total_seconds() for each in shop.deliveries(hook) if each.state == "pending"]
    assert len(pauses) == 200
    assert max(pauses) <= 5
    receiver.respond = accept
    shop.wait(5)
    shop.deliver()
    assert {each[0] for each in shop.results(hook)} == {"succeeded"}


def test_one_refused_event(shop: Shop, receiver: Receiver) -> None:
    """An event that the receiver always refuses delays the others by a pause only, and the webhook keeps working."""
    refused: list[str] = []

    async def refuse_first(_receiver: Receiver, request: web.Request) -> web.Response:
        refused.append(request.headers["webhook-id"])
        return web.Response(status=500 if refused[0] == request.headers["webhook-id"] else 204)

    receiver.respond = refuse_first
    hook = shop.add(receiver.url)
    shop.publish(50)
    shop.deliver()
    shop.wait(5)
    shop.deliver()
    shop.wait(5)
    shop.deliver()
    results = [each[0] for each in shop.results(hook)]
    assert (results.count("succeeded"), results.count("pending")) == (49, 1)
