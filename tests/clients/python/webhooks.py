"""The part of the story about webhooks."""

from datetime import UTC, datetime
from uuid import UUID

from promo_client import AuthenticatedClient
from promo_client.api.webhooks import (
    business_webhooks_create_webhook,
    business_webhooks_delete_webhook,
    business_webhooks_get_webhook,
    business_webhooks_list_deliveries,
    business_webhooks_list_webhooks,
    business_webhooks_redeliver,
    business_webhooks_rotate_secret,
    business_webhooks_send_test,
    business_webhooks_update_webhook,
)
from promo_client.models import Delivery, EventTypeFilter, Redelivery, WebhookCreate, WebhookPatch
from promo_client.types import UNSET

from tests.clients.python.responses import good


def manage_webhooks(company: AuthenticatedClient) -> None:
    """The company creates a webhook, tests it, rotates its secret and deletes it."""
    body = WebhookCreate(url="https://shop.example/hooks", event_types=[EventTypeFilter.PROMO_EXHAUSTED])
    webhook = good(business_webhooks_create_webhook.sync_detailed(client=company, body=body), 201)
    assert [each.id for each in good(business_webhooks_list_webhooks.sync_detailed(client=company))] == [webhook.id]
    shown = good(business_webhooks_get_webhook.sync_detailed(webhook.id, client=company))
    assert (shown.event_types, shown.enabled) == (["promo.exhausted"], True)
    every_type = WebhookPatch(event_types=None)
    changed = good(business_webhooks_update_webhook.sync_detailed(webhook.id, client=company, body=every_type))
    assert changed.event_types is UNSET
    rotated = good(business_webhooks_rotate_secret.sync_detailed(webhook.id, client=company))
    assert rotated.secret != webhook.secret
    test_id = good(business_webhooks_send_test.sync_detailed(webhook.id, client=company), 202).event_id
    assert _listed_delivery(company, webhook.id, test_id).event_type == "webhook.test"
    since = Redelivery(since=datetime(2025, 1, 16, 12, 30, tzinfo=UTC))
    assert good(business_webhooks_redeliver.sync_detailed(webhook.id, client=company, body=since), 202).status == "ok"
    assert good(business_webhooks_delete_webhook.sync_detailed(webhook.id, client=company)).status == "ok"


def _listed_delivery(company: AuthenticatedClient, webhook_id: UUID, event_id: UUID) -> Delivery:
    """Wait until the delivery is listed, maybe beside events from before the webhook that were published after it."""
    while True:
        deliveries: list[Delivery] = good(business_webhooks_list_deliveries.sync_detailed(webhook_id, client=company))
        for each in deliveries:
            if each.event_id == event_id:
                return each
