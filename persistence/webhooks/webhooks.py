"""Webhooks as their companies see and change them.

Changes lock the company, see `claim_company_exclusively`, so that concurrent creations cannot exceed the limit.
Deleted webhooks are ignored: a sweeper removes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Connection,
    Interval,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    insert,
    select,
    update,
)

from persistence.accounts.events import record_event
from persistence.database.statements import Statement
from persistence.schema.webhook_tables import webhooks


@dataclass(frozen=True)
class Webhook:
    """A webhook, without its secret. No event types: all. Times that are over are None."""

    id: UUID
    url: str
    event_types: Sequence[str]
    enabled: bool
    created_at: datetime
    failing_since: datetime | None
    paused_until: datetime | None
    disabled_reason: str | None
    disabled_at: datetime | None
    previous_secret_until: datetime | None


_WEBHOOK = webhooks.c
_COMPANY_ID, _ID = bindparam("company", type_=Uuid), bindparam("id", type_=Uuid)
_URL, _TYPES = bindparam("new_url", type_=Text), bindparam("new_types", type_=ARRAY(Text))
_ENABLED, _SECRET = bindparam("new_enabled", type_=Boolean), bindparam("new_secret", type_=Text)
_IS_OF_COMPANY = and_(_WEBHOOK.company_id == _COMPANY_ID, _WEBHOOK.deleted_at.is_(None))
_IS_WEBHOOK = and_(_IS_OF_COMPANY, _WEBHOOK.id == _ID)
# Not clock_timestamp(): Citus allows no VOLATILE function in an UPDATE.
_NOW = func.statement_timestamp()


def _columns(rows: Any) -> list[ColumnElement[Any]]:
    """Select the attributes of Webhook."""
    times = {"paused_until": rows.paused_until, "previous_secret_until": rows.previous_until}
    later = {name: case((time > _NOW, time)).label(name) for name, time in times.items()}
    return [later[name] if name in later else rows[name] for name in Webhook.__dataclass_fields__]


_COLUMNS = _columns(_WEBHOOK)


def _record(changed: Any, event: str) -> Select[Any]:
    """Record an event of each changed webhook in the audit log, and select the webhooks."""
    rows = changed.returning(*_WEBHOOK).cte("changed")
    owner = select(rows.c.company_id.label("id"), rows.c.id.label("webhook_id")).cte("owner")
    recorded = record_event(owner, event, webhook_id=owner.c.webhook_id)
    return select(*_columns(rows.c)).add_cte(recorded)


def _insert() -> Select[Any]:
    """Return the statement that inserts a webhook, unless the company has reached the limit.

    It runs after the lock, so that its snapshot has all webhooks.
    """
    values = {
        "company_id": _COMPANY_ID,
        "id": _ID,
        "url": _URL,
        "event_types": _TYPES,
        "enabled": _ENABLED,
        "secret": _SECRET,
    }
    count = select(func.count()).where(_IS_OF_COMPANY).scalar_subquery()
    row = select(*values.values()).where(count < bindparam("limit"))
    return _record(insert(webhooks).from_select([*values], row), "webhook_created")


def _update() -> Select[Any]:
    is_cleared = bindparam("is_cleared", type_=Boolean)
    cleared = {
        "failing_since": None,
        "failures": 0,
        "paused_until": None,
        "disabled_reason": None,
        "disabled_at": None,
        "mail_due_at": None,
        "mail_attempts": 0,
    }
    values = {name: case((is_cleared, value), else_=_WEBHOOK[name]) for name, value in cleared.items()}
    changed = update(webhooks).where(_IS_WEBHOOK).values(url=_URL, event_types=_TYPES, enabled=_ENABLED, **values)
    return _record(changed, "webhook_changed")


def _update_secret() -> Select[Any]:
    previous_until = _NOW + bindparam("overlap", type_=Interval)
    changed = update(webhooks).where(_IS_WEBHOOK)
    changed = changed.values(previous_secret=_WEBHOOK.secret, previous_until=previous_until, secret=_SECRET)
    return _record(changed, "webhook_secret_rotated")


_LIST = Statement(select(*_COLUMNS).where(_IS_OF_COMPANY).order_by(_WEBHOOK.created_at.desc(), _WEBHOOK.id.desc()))
_FIND = Statement(select(*_COLUMNS).where(_IS_WEBHOOK))
# The sender changes other columns meanwhile.
_CLAIM = Statement(select(*_COLUMNS).where(_IS_WEBHOOK).with_for_update(key_share=True))
_INSERT = Statement(_insert())
_UPDATE = Statement(_update())
_UPDATE_SECRET = Statement(_update_secret())
_CLOSE = Statement(_record(update(webhooks).where(_IS_WEBHOOK).values(deleted_at=_NOW), "webhook_deleted"))


def list_webhooks(connection: Connection, company_id: UUID) -> list[Webhook]:
    """Return the webhooks of a company, newest first."""
    return [Webhook(*row) for row in _LIST.rows(connection, {"company": company_id})]


def find_webhook(connection: Connection, company_id: UUID, webhook_id: UUID) -> Webhook | None:
    """Return a webhook of the company."""
    return _read(_FIND.row(connection, {"company": company_id, "id": webhook_id}))


def claim_webhook(connection: Connection, company_id: UUID, webhook_id: UUID) -> Webhook | None:
    """Lock a webhook of the company until the end of the transaction, and return it."""
    return _read(_CLAIM.row(connection, {"company": company_id, "id": webhook_id}))


def insert_webhook(
    connection: Connection,
    company_id: UUID,
    webhook_id: UUID,
    *,
    url: str,
    event_types: Sequence[str],
    enabled: bool,
    secret: str,
    limit: int,
) -> Webhook | None:
    """Insert a webhook with an encrypted secret, and return it; None if the company has `limit` webhooks.

    The company must be locked.
    """
    values = {"new_url": url, "new_types": [*event_types], "new_enabled": enabled, "new_secret": secret}
    return _read(_INSERT.row(connection, {"company": company_id, "id": webhook_id, "limit": limit, **values}))


def update_webhook(connection: Connection, company_id: UUID, webhook: Webhook, *, is_cleared: bool) -> Webhook | None:
    """Store the URL, the event types and whether the webhook is enabled; None: it does not exist.

    `is_cleared` says whether its failures are forgotten, with the reason why it was disabled.
    """
    values = {"new_url": webhook.url, "new_types": [*webhook.event_types], "new_enabled": webhook.enabled}
    row = _UPDATE.row(connection, {"company": company_id, "id": webhook.id, "is_cleared": is_cleared, **values})
    return _read(row)


def update_secret(
    connection: Connection, company_id: UUID, webhook_id: UUID, secret: str, *, overlap: timedelta
) -> Webhook | None:
    """Store a new encrypted secret, and keep the previous one for a while; None: there is no such webhook."""
    values = {"company": company_id, "id": webhook_id, "new_secret": secret, "overlap": overlap}
    return _read(_UPDATE_SECRET.row(connection, values))


def close_webhook(connection: Connection, company_id: UUID, webhook_id: UUID) -> bool:
    """Mark a webhook as deleted; False: there is no such webhook."""
    return _CLOSE.row(connection, {"company": company_id, "id": webhook_id}) is not None


def _read(row: Any) -> Webhook | None:
    return None if row is None else Webhook(*row)
