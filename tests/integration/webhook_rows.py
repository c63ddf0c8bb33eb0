"""Webhooks for tests: created through the API, and their rows."""

from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from persistence.schema.webhook_tables import deliveries, webhooks
from promo_api.runtime import Runtime
from tests.accounts import Account

PATH = "/business/webhooks"
URL = "https://shop.example/hooks"


def create_webhook(company: Account, **values: Any) -> dict[str, Any]:
    """Create a webhook, and return the response."""
    response = company.post(PATH, json={"url": URL, **values})
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def row_of(runtime: Runtime, webhook: dict[str, Any]) -> Any:
    """Return the row of a webhook."""
    with runtime.database.autocommit() as connection:
        return connection.execute(select(webhooks).where(webhooks.c.id == UUID(webhook["id"]))).one()


def change_row(runtime: Runtime, webhook: dict[str, Any], **values: Any) -> None:
    """Change the row of a webhook, as the sender does."""
    with runtime.database.autocommit() as connection:
        connection.execute(update(webhooks).where(webhooks.c.id == UUID(webhook["id"])).values(**values))


def add_delivery(runtime: Runtime, company: Account, webhook: dict[str, Any], event_id: str, **values: Any) -> None:
    """Insert a delivery, or change the one that the publisher has inserted."""
    key = {"company_id": UUID(company.id), "webhook_id": UUID(webhook["id"]), "event_id": UUID(event_id)}
    values = {"attempts": 0, **values}
    statement = insert(deliveries).values({**key, **values})
    with runtime.database.autocommit() as connection:
        connection.execute(statement.on_conflict_do_update(constraint=deliveries.primary_key, set_=values))


def deliveries_of(runtime: Runtime, webhook: dict[str, Any]) -> dict[str, Any]:
    """Return the rows of the deliveries of a webhook, by event."""
    with runtime.database.autocommit() as connection:
        rows = connection.execute(select(deliveries).where(deliveries.c.webhook_id == UUID(webhook["id"])))
        return {str(row.event_id): row for row in rows}
