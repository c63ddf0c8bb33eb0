"""Mails about webhooks that the service has disabled: an outbox in the table of webhooks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Connection, DateTime, Uuid, bindparam, func, literal_column, null, select, update

from persistence.database.statements import Statement
from persistence.schema.webhook_tables import webhooks


@dataclass(frozen=True)
class DisabledWebhook:
    """A webhook that the service has disabled; `reason`: gone or failing; `failing_since`: the first failure."""

    company_id: UUID
    id: UUID
    url: str
    reason: str
    failing_since: datetime
    disabled_at: datetime


@dataclass(frozen=True)
class DueMail:
    """The mail about a webhook; `attempts` includes the one that begins now."""

    webhook: DisabledWebhook
    attempts: int


_webhook = webhooks.c
_NOW, _DUE_AT, _DISABLED_AT = (
    bindparam(name, type_=DateTime(timezone=True)) for name in ("now", "due_at", "disabled_at")
)
_HAS_MAIL = _webhook.mail_due_at.is_not(None)
_due = (
    select(_webhook.company_id, _webhook.id)
    .where(_webhook.mail_due_at <= _NOW, _webhook.disabled_at.is_not(None), _webhook.deleted_at.is_(None))
    .order_by(_webhook.mail_due_at)
    .limit(literal_column("1"))
    .with_for_update(key_share=True, skip_locked=True)
    .cte("due")
)
_CLAIM = Statement(
    update(webhooks)
    .where(_webhook.company_id == _due.c.company_id, _webhook.id == _due.c.id)
    .values(mail_due_at=_DUE_AT, mail_attempts=_webhook.mail_attempts + literal_column("1"))
    .returning(
        _webhook.company_id,
        _webhook.id,
        _webhook.url,
        _webhook.disabled_reason,
        func.coalesce(_webhook.failing_since, _webhook.disabled_at),
        _webhook.disabled_at,
        _webhook.mail_attempts,
    )
)
# Not the mail of a later time, at which it was disabled again.
_IS_MAIL = (
    _webhook.company_id == bindparam("company", type_=Uuid),
    _webhook.id == bindparam("webhook", type_=Uuid),
    _webhook.disabled_at == _DISABLED_AT,
    _HAS_MAIL,
)
_CLOSED: dict[str, Any] = {"mail_due_at": null(), "mail_attempts": literal_column("0")}
_POSTPONE = Statement(update(webhooks).where(*_IS_MAIL).values(mail_due_at=_DUE_AT))
_CLOSE = Statement(update(webhooks).where(*_IS_MAIL).values(_CLOSED))
_unsent = (
    select(_webhook.company_id, _webhook.id)
    .where(_HAS_MAIL)
    .limit(bindparam("limit", type_=BigInteger))
    .with_for_update(key_share=True, skip_locked=True)
    .cte("unsent")
)
_CLOSE_ALL = Statement(
    update(webhooks).where(_webhook.company_id == _unsent.c.company_id, _webhook.id == _unsent.c.id).values(_CLOSED)
)


def claim_due_mail(connection: Connection, now: datetime, *, due_at: datetime) -> DueMail | None:
    """Return a mail that is due, and make it due again at `due_at`, in case this process dies."""
    row = _CLAIM.row(connection, {"now": now, "due_at": due_at})
    return None if row is None else DueMail(DisabledWebhook(*row[:-1]), row[-1])


def update_mail_due(connection: Connection, webhook: DisabledWebhook, due_at: datetime) -> None:
    """Postpone a mail, unless the webhook was enabled meanwhile."""
    _POSTPONE.count(connection, {**_key(webhook), "due_at": due_at})


def close_mail(connection: Connection, webhook: DisabledWebhook) -> None:
    """Record that a mail is not sent again."""
    _CLOSE.count(connection, _key(webhook))


def close_mails(connection: Connection, *, limit: int) -> int:
    """Record that mails are not sent, and return how many."""
    return _CLOSE_ALL.count(connection, {"limit": limit})


def _key(webhook: DisabledWebhook) -> dict[str, Any]:
    return {"company": webhook.company_id, "webhook": webhook.id, "disabled_at": webhook.disabled_at}
