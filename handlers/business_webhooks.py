"""The webhooks of a company."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any
from uuid import UUID, uuid4

from handlers import Body
from handlers.company_locks import lock_own_company
from handlers.idempotency import Response, idempotent, store_responses
from handlers.pages import PageRequest, paged, serialize_page
from handlers.serializers import serialize_delivery, serialize_webhook
from persistence.accounts.companies import Company
from persistence.idempotency import IdempotencyKey
from persistence.pages import Page
from persistence.webhooks.redeliveries import (
    insert_redelivery,
    insert_test,
    list_deliveries as list_webhook_deliveries,
    update_redelivery,
)
from persistence.webhooks.webhooks import (
    Webhook,
    claim_webhook,
    close_webhook,
    find_webhook,
    insert_webhook,
    list_webhooks as list_company_webhooks,
    update_secret,
    update_webhook as update_company_webhook,
)
from promo_api.errors import IdempotencyKeyReused, InvalidInput, NotFound, TooManyWebhooks, WebhookDisabled
from promo_api.runtime import Runtime
from promo_api.specification import MAX_WEBHOOKS

_OVERLAP = timedelta(hours=24)
_FIRST_TIME, _LAST_TIME = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def _show_secret(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Decrypt the secret in a response, which is stored encrypted under an idempotency key."""

    @wraps(handler)
    def respond(runtime: Runtime, *arguments: Any, **request: Any) -> Any:
        body, *rest = handler(runtime, *arguments, **request)
        secret = runtime.webhook_secrets.decrypt(body["secret"])
        if secret is None:
            raise IdempotencyKeyReused("The response to this Idempotency-Key can no longer be read. Use a new key.")
        return {**body, "secret": secret}, *rest

    return respond


@_show_secret
@idempotent
def create_webhook(runtime: Runtime, company: Company, *, body: Body, key: IdempotencyKey | None) -> Response:
    """Create a webhook, and return its secret this once."""
    _check_url(runtime, body["url"])
    secret = runtime.webhook_secrets.encrypt(runtime.webhook_secrets.generate())
    values = {"url": body["url"], "event_types": body.get("event_types", ()), "enabled": body.get("enabled", True)}
    with lock_own_company(runtime, company) as connection:
        webhook = insert_webhook(connection, company.id, uuid4(), secret=secret, limit=MAX_WEBHOOKS, **values)
        if webhook is None:
            raise TooManyWebhooks(f"The company has {MAX_WEBHOOKS} webhooks. Delete one that is not needed.")
        response = {**serialize_webhook(webhook), "secret": secret}, 201
        store_responses(connection, [(key, response)])
    return response


def list_webhooks(runtime: Runtime, company: Company) -> list[Body]:
    """List the webhooks, newest first."""
    with runtime.database.autocommit() as connection:
        webhooks = list_company_webhooks(connection, company.id)
    return [serialize_webhook(webhook) for webhook in webhooks]


def get_webhook(runtime: Runtime, company: Company, *, id: UUID) -> Body:
    """Return a webhook."""
    with runtime.database.autocommit() as connection:
        return serialize_webhook(_existing(find_webhook(connection, company.id, id)))


def update_webhook(runtime: Runtime, company: Company, *, id: UUID, body: Body) -> Body:
    """Change members of a webhook; null stands for all event types. A failing webhook is retried."""
    if "url" in body:
        _check_url(runtime, body["url"])
    changes = {**body, "event_types": body["event_types"] or []} if "event_types" in body else body
    with lock_own_company(runtime, company) as connection:
        webhook = _existing(claim_webhook(connection, company.id, id))
        changed = replace(webhook, **changes)
        is_retried = body.get("enabled", False) and webhook.failing_since is not None
        if changed != webhook or is_retried:
            is_other = (changed.url, changed.enabled) != (webhook.url, webhook.enabled)
            is_cleared = changed.enabled and (is_other or is_retried)
            webhook = _existing(update_company_webhook(connection, company.id, changed, is_cleared=is_cleared))
    return serialize_webhook(webhook)


def delete_webhook(runtime: Runtime, company: Company, *, id: UUID) -> Body:
    """Delete a webhook. A sweeper deletes its deliveries."""
    with lock_own_company(runtime, company) as connection:
        if not close_webhook(connection, company.id, id):
            raise NotFound.webhook()
    return {"status": "ok"}


@_show_secret
@idempotent
def rotate_secret(runtime: Runtime, company: Company, *, id: UUID, key: IdempotencyKey | None) -> Response:
    """Replace the secret of a webhook, and return the new one this once."""
    secret = runtime.webhook_secrets.encrypt(runtime.webhook_secrets.generate())
    with lock_own_company(runtime, company) as connection:
        webhook = _existing(update_secret(connection, company.id, id, secret, overlap=_OVERLAP))
        response = {**serialize_webhook(webhook), "secret": secret}, 200
        store_responses(connection, [(key, response)])
    return response


def send_test(runtime: Runtime, company: Company, *, id: UUID) -> Response:
    """Write an event that is delivered to this webhook only."""
    with lock_own_company(runtime, company) as connection:
        _check_enabled(find_webhook(connection, company.id, id))
        event_id = insert_test(connection, company.id, id)
    return {"event_id": event_id}, 202


@paged
def list_deliveries(runtime: Runtime, company: Company, *, id: UUID, page: PageRequest) -> Page[Body]:
    """List the deliveries of a webhook, the newest event first."""
    with runtime.database.autocommit() as connection:
        _existing(find_webhook(connection, company.id, id))
        deliveries = list_webhook_deliveries(connection, company.id, id, limit=page.limit, after=page.after)
    return serialize_page(deliveries, serialize_delivery)


def redeliver(runtime: Runtime, company: Company, *, id: UUID, body: Body) -> Response:
    """Deliver an event again, or all events since a time."""
    with lock_own_company(runtime, company) as connection:
        _check_enabled(claim_webhook(connection, company.id, id))
        if "since" in body:
            update_redelivery(connection, company.id, id, _read_time(body["since"]))
        elif not insert_redelivery(connection, company.id, id, UUID(body["event_id"])):
            raise NotFound.event()
    return {"status": "ok"}, 202


def _existing(webhook: Webhook | None) -> Webhook:
    if webhook is None:
        raise NotFound.webhook()
    return webhook


def _check_enabled(webhook: Webhook | None) -> None:
    if not _existing(webhook).enabled:
        raise WebhookDisabled("This webhook is disabled. Enable it first.")


def _check_url(runtime: Runtime, url: str) -> None:
    if not url.startswith("https://") and not runtime.settings.webhook_http_allowed:
        raise InvalidInput.body("/url", "must begin with https://", code="insecure_url")


def _read_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:  # in the year 1 or 9999: all events, or none
        return _FIRST_TIME if text.startswith("0") else _LAST_TIME
