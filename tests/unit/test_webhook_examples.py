"""The receivers in docs/api.md, which verify webhooks."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from promo_api.security.webhook_secrets import WebhookSecrets
from tests.pages import code

_BODY = b'{"id":"01946f2a-5b83-7c41-9e0d-2a9b7c4d1e63","type":"webhook.test"}'
_ID = "01946f2a-5b83-7c41-9e0d-2a9b7c4d1e63"
Receiver = Callable[[dict[str, str], bytes], Any]


def _receiver(label: str, secret: str) -> Receiver:
    names: dict[str, Any] = {"SECRET": secret}
    exec(code("docs/api.md", f"python {label}"), names)  # noqa: S102 of this repository
    receiver: Receiver = names["read_event"]
    return receiver


def _headers(*secrets: str, age_s: int = 0) -> dict[str, str]:
    """Return the headers of a request with a signature for each secret."""
    sent_at = datetime.now(UTC) - timedelta(seconds=age_s)
    signatures = [Webhook(secret).sign(_ID, sent_at, _BODY.decode()) for secret in secrets]
    timestamp = str(int(sent_at.timestamp()))
    return {"webhook-id": _ID, "webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}


@pytest.mark.parametrize("label", ["library", "hmac"])
def test_receivers(label: str) -> None:
    """Both receivers accept one right signature of two, and refuse a wrong one, a changed body and an old request."""
    secret, other = WebhookSecrets.generate(), WebhookSecrets.generate()
    read_event = _receiver(label, secret)
    expected = {"id": _ID, "type": "webhook.test"}
    assert read_event(_headers(secret), _BODY) == expected
    assert read_event(_headers(other, secret), _BODY) == expected
    for headers, body in (
        (_headers(other), _BODY),
        (_headers(secret), _BODY + b" "),
        (_headers(secret, age_s=600), _BODY),
        ({**_headers(secret), "webhook-id": "another"}, _BODY),
        ({**_headers(secret), "webhook-signature": ""}, _BODY),
        ({**_headers(secret), "webhook-signature": "v1,é"}, _BODY),
    ):
        assert read_event(headers, body) is None
