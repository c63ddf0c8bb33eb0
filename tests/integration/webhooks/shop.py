"""A company with webhooks, whose deliveries a test sends itself, at a time that it moves."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import insert, select, text, update

from persistence.schema.event_tables import events
from persistence.schema.webhook_tables import deliveries, webhooks
from promo_api.config.settings import Settings
from promo_api.runtime import Runtime
from promo_api.security.webhook_secrets import WebhookSecrets
from promo_api.webhooks.client import WebhookClient
from promo_api.webhooks.sender import REQUESTS_MAX, Sender
from tests.accounts import Account
from tests.integration.events import fill, publish

_MOVED = {
    webhooks: ("failing_since", "paused_until", "previous_until", "disabled_at"),
    deliveries: ("due_at", "created_at", "attempted_at"),
}


class Hook(NamedTuple):
    """The id and the secret of a webhook."""

    id: UUID
    secret: str


@dataclass
class Shop:
    """A company and its webhooks."""

    runtime: Runtime
    settings: Settings
    company: Account

    @property
    def id(self) -> UUID:
        """The id of the company."""
        return UUID(self.company.id)

    def add(self, url: str, **columns: Any) -> Hook:
        """Store a webhook."""
        hook = Hook(uuid4(), WebhookSecrets.generate())
        stored = WebhookSecrets(self.settings.secret_keys).encrypt(hook.secret)
        values = {"company_id": self.id, "id": hook.id, "url": url, "event_types": [], "secret": stored} | columns
        with self.runtime.database.autocommit() as connection:
            connection.execute(insert(webhooks), [values])
        return hook

    def change(self, hook: Hook, **columns: Any) -> None:
        """Change a webhook."""
        with self.runtime.database.autocommit() as connection:
            connection.execute(update(webhooks).where(webhooks.c.id == hook.id).values(**columns))

    def publish(self, count: int = 1) -> None:
        """Write events of the company, and publish them."""
        fill(self.runtime.database, self.id, count)
        publish(self.runtime)

    def write(self, type_: str, **data: Any) -> None:
        """Write one event of the company, and publish it."""
        with self.runtime.database.autocommit() as connection:
            connection.execute(insert(events), [{"company_id": self.id, "type": type_, "data": data}])
        publish(self.runtime)

    def deliver(self, **changes: Any) -> None:
        """Send the due deliveries, with changed settings."""
        asyncio.run(self.send(**changes))

    async def send(self, **changes: Any) -> None:
        """Send the due deliveries."""
        settings = replace(self.settings, **changes)
        secrets = WebhookSecrets(settings.secret_keys)
        async with (
            WebhookClient(settings, REQUESTS_MAX) as client,
            Sender(self.runtime.database, secrets, client) as sender,
        ):
            while await sender.start_ready() or sender._tasks:
                await sender.wait()

    def wait(self, seconds: float) -> None:
        """Let time pass, for the webhooks and deliveries of the company."""
        time = timedelta(seconds=seconds)
        with self.runtime.database.autocommit() as connection:
            for table, names in _MOVED.items():
                for row in connection.execute(select(table).where(table.c.company_id == self.id)).mappings().all():
                    is_row = (column == row[column.name] for column in table.primary_key)
                    moved = {name: row[name] - time for name in names if row[name] is not None}
                    if moved:
                        connection.execute(update(table).where(*is_row).values(moved))

    def hook(self, hook: Hook) -> Any:
        """Return the row of a webhook, with `pause_s`, the seconds until it is asked again."""
        pause = (webhooks.c.paused_until - text("now()")).label("pause")
        with self.runtime.database.autocommit() as connection:
            return connection.execute(select(webhooks, pause).where(webhooks.c.id == hook.id)).one()

    def deliveries(self, hook: Hook) -> list[Any]:
        """Return the deliveries of a webhook by event, with `pause`, the time until the next attempt."""
        pause = (deliveries.c.due_at - text("now()")).label("pause")
        query = select(deliveries, pause).where(deliveries.c.webhook_id == hook.id).order_by(deliveries.c.event_id)
        with self.runtime.database.autocommit() as connection:
            return [*connection.execute(query)]

    def results(self, hook: Hook) -> list[tuple[str, int | None, str | None]]:
        """Return state, status and error of the deliveries of a webhook."""
        return [(each.state, each.status, each.error) for each in self.deliveries(hook)]

    def types(self) -> list[str]:
        """Publish all events, and return the types of those of the company."""
        publish(self.runtime)
        with self.runtime.database.autocommit() as connection:
            return [*connection.scalars(select(events.c.type).where(events.c.company_id == self.id))]

    def close(self) -> None:
        """Delete the webhooks, so that no other test sends to them."""
        with self.runtime.database.autocommit() as connection:
            connection.execute(
                update(webhooks).where(webhooks.c.company_id == self.id).values(deleted_at=text("now()"))
            )
