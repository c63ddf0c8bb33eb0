"""Webhooks and deliveries in the database, for tests of the background jobs."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, delete, insert, select, update

from persistence.database.engine import Database
from persistence.schema.webhook_tables import deliveries, webhooks

_VALUES: dict[str, Any] = {"url": "https://shop.example/hook?key=1", "event_types": [], "secret": "encrypted"}


@dataclass(frozen=True)
class StoredWebhook:
    """A webhook of a company."""

    database: Database
    company_id: UUID
    id: UUID

    def change(self, **values: Any) -> None:
        """Change its columns."""
        with self.database.autocommit() as connection:
            connection.execute(update(webhooks).where(self.is_webhook()).values(values))

    def read(self) -> dict[str, Any] | None:
        """Return its columns; None: it is deleted."""
        with self.database.autocommit() as connection:
            row = connection.execute(select(webhooks).where(self.is_webhook())).mappings().one_or_none()
        return None if row is None else dict(row)

    def deliver(self, event_ids: list[UUID], **values: Any) -> None:
        """Insert deliveries."""
        row = {"company_id": self.company_id, "webhook_id": self.id, **values}
        with self.database.autocommit() as connection:
            connection.execute(insert(deliveries), [{**row, "event_id": event_id} for event_id in event_ids])

    def deliveries(self) -> dict[UUID, Any]:
        """Return its deliveries by the id of their event."""
        query = select(deliveries).where(self.has_delivery())
        with self.database.autocommit() as connection:
            return {row.event_id: row for row in connection.execute(query.order_by(deliveries.c.event_id))}

    def is_webhook(self) -> ColumnElement[bool]:
        """Return the condition that a row is this webhook."""
        return and_(webhooks.c.company_id == self.company_id, webhooks.c.id == self.id)

    def has_delivery(self) -> ColumnElement[bool]:
        """Return the condition that a delivery is one of this webhook."""
        return and_(deliveries.c.company_id == self.company_id, deliveries.c.webhook_id == self.id)


def store_webhook(database: Database, company_id: UUID | None = None, **values: Any) -> StoredWebhook:
    """Insert a webhook, by default of a new company."""
    webhook = StoredWebhook(database, company_id or uuid4(), uuid4())
    row = {**_VALUES, "company_id": webhook.company_id, "id": webhook.id, **values}
    with database.autocommit() as connection:
        connection.execute(insert(webhooks), row)
    return webhook


def delete_all(database: Database) -> None:
    """Delete all webhooks and deliveries."""
    with database.autocommit() as connection:
        connection.execute(delete(deliveries))
        connection.execute(delete(webhooks))
