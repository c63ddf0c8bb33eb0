"""Signatures of webhooks, the header Retry-After, and the words for what comes of a request."""

import json
from datetime import UTC, datetime, timedelta
from time import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from promo_api.security.webhook_secrets import WebhookSecrets
from promo_api.telemetry.webhook_metrics import RESULTS
from promo_api.webhooks import client, outcomes
from promo_api.webhooks.outcomes import Outcome
from promo_api.webhooks.retry_after import parse_retry_after
from promo_api.webhooks.signatures import sign

_NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
_BODY = json.dumps({"id": "one", "name": "Zoë"}, ensure_ascii=False).encode()


def _headers(signature: str, timestamp_s: int) -> dict[str, str]:
    return {"webhook-id": "one", "webhook-timestamp": str(timestamp_s), "webhook-signature": signature}


def test_signature() -> None:
    """The library of the specification verifies a signature, and refuses one of another body, id, time or secret."""
    secret, timestamp_s = WebhookSecrets.generate(), int(time())
    signature = sign([secret], "one", timestamp_s, _BODY)
    receiver = Webhook(secret)
    assert receiver.verify(_BODY, _headers(signature, timestamp_s)) == json.loads(_BODY)
    for body, headers in (
        (_BODY + b" ", _headers(signature, timestamp_s)),
        (_BODY, _headers(signature, timestamp_s) | {"webhook-id": "two"}),
        (_BODY, _headers(signature, timestamp_s - 1)),
        (_BODY, _headers(sign([WebhookSecrets.generate()], "one", timestamp_s, _BODY), timestamp_s)),
    ):
        with pytest.raises(WebhookVerificationError):
            receiver.verify(body, headers)


def test_example_of_the_specification() -> None:
    """The signature is that of the example in the specification's reference libraries."""
    body = b'{"test": 2432232314}'
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets() -> None:
    """During a rotation both secrets sign, and a receiver with either accepts."""
    secrets, timestamp_s = [WebhookSecrets.generate() for _ in range(2)], int(time())
    signature = sign(secrets, "one", timestamp_s, _BODY)
    assert len(signature.split(" ")) == 2
    for secret in secrets:
        assert Webhook(secret).verify(_BODY, _headers(signature, timestamp_s)) == json.loads(_BODY)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Sat, 31 Jan 2026 12:01:30 GMT", 90),
        ("Saturday, 31-Jan-26 12:01:30 GMT", 90),
        ("Sat Jan 31 12:01:30 2026", 90),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
        (
            "Fri, 31 Dec 9999 23:59:59 GMT",
            (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _NOW) / timedelta(seconds=1),
        ),
        *((text, None) for text in (None, "", "-1", "1.5", "soon", "9" * 40, "Sat, 99 Jan 2026 12:00:00 GMT", "١٢")),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    """Retry-After is a number of seconds or a date; anything else is ignored."""
    assert parse_retry_after(text, _NOW) == seconds


def test_results_are_all_known() -> None:
    """The metric has a label for each outcome; a missing label would be a defect at the time of the failure."""
    words = {word for _, word in client._ERRORS} | {"address_forbidden", "insecure_url", "internal_error"}
    words |= {outcomes.TOO_LARGE, outcomes.EVENT_DELETED, outcomes.SECRET_UNREADABLE}
    assert words | {Outcome(204).result, Outcome(302).result} == {*RESULTS}
