"""Mails about webhooks that the service has disabled: an outbox in the table of webhooks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Uuid,
    and_,
    bindparam,
    func,
    literal_column,
    null,
    select,
    update,
)

from persistence.database.statements import Statement, claim_first
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
_KEY = (_webhook.company_id, _webhook.id)
_HAS_MAIL = _webhook.mail_due_at.is_not(None)
_IS_WEBHOOK = (_webhook.company_id == bindparam("company", type_=Uuid), _webhook.id == bindparam("webhook", type_=Uuid))
_IS_DUE = (_webhook.mail_due_at <= _NOW, _webhook.disabled_at.is_not(None), _webhook.deleted_at.is_(None))
# More than one, because other processes may have locked the first.
_FIND_DUE = Statement(select(*_KEY).where(*_IS_DUE).order_by(_webhook.mail_due_at).limit(literal_column("10")))


def _unlocked(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """It is a webhook that no other process has locked."""
    rows = select(_webhook.id).where(*_IS_WEBHOOK, *conditions).with_for_update(key_share=True, skip_locked=True)
    return and_(*_IS_WEBHOOK, _webhook.id.in_(select(rows.cte("unlocked").c.id)))


_CLAIM = Statement(
    update(webhooks)
    .where(_unlocked(*_IS_DUE))
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
_IS_MAIL = (*_IS_WEBHOOK, _webhook.disabled_at == _DISABLED_AT, _HAS_MAIL)
_CLOSED: dict[str, Any] = {"mail_due_at": null(), "mail_attempts": literal_column("0")}
_POSTPONE = Statement(update(webhooks).where(*_IS_MAIL).values(mail_due_at=_DUE_AT))
_CLOSE = Statement(update(webhooks).where(*_IS_MAIL).values(_CLOSED))
_LIST_UNSENT = Statement(select(*_KEY).where(_HAS_MAIL).limit(bindparam("limit", type_=BigInteger)))
_CLOSE_UNSENT = Statement(update(webhooks).where(_unlocked(_HAS_MAIL)).values(_CLOSED))


def claim_due_mail(connection: Connection, now: datetime, *, due_at: datetime) -> DueMail | None:
    """Return a mail that is due, and make it due again at `due_at`, in case this process dies."""
    row = claim_first(connection, _FIND_DUE, _CLAIM, ("company", "webhook"), {"now": now, "due_at": due_at})
    return None if row is None else DueMail(DisabledWebhook(*row[:-1]), row[-1])


def update_mail_due(connection: Connection, webhook: DisabledWebhook, due_at: datetime) -> None:
    """Postpone a mail, unless the webhook was enabled meanwhile."""
    _POSTPONE.count(connection, {**_key(webhook), "due_at": due_at})


def close_mail(connection: Connection, webhook: DisabledWebhook) -> None:
    """Record that a mail is not sent again."""
    _CLOSE.count(connection, _key(webhook))


def close_mails(connection: Connection, *, limit: int) -> int:
    """Record that mails are not sent, and return how many."""
    unsent = _LIST_UNSENT.rows(connection, {"limit": limit})
    return sum(_CLOSE_UNSENT.count(connection, {"company": row[0], "webhook": row[1]}) for row in unsent)


def _key(webhook: DisabledWebhook) -> dict[str, Any]:
    return {"company": webhook.company_id, "webhook": webhook.id, "disabled_at": webhook.disabled_at}
