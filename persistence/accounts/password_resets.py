"""Password resets by mail: requests, and the outbox of their mails.

Statements of an account lock the account before its reset.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    DateTime,
    LargeBinary,
    Text,
    Uuid,
    any_,
    bindparam,
    delete,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from persistence.accounts.addresses import find_account_id
from persistence.database.statements import Statement, claim_first
from persistence.schema.reset_tables import password_resets
from persistence.schema.tables import companies, users


@dataclass(frozen=True)
class PasswordReset:
    """A request to reset a password. `digest`: of the secret in the token; `nonce`: what it is derived from."""

    account_id: UUID
    kind: str
    digest: bytes
    nonce: bytes
    expires_at: datetime


@dataclass(frozen=True)
class DueMail:
    """The mail of a reset; `attempts` includes the one that begins now."""

    reset: PasswordReset
    attempts: int


_reset = password_resets.c
_ACCOUNT_ID, _DIGEST = bindparam("account_id", type_=Uuid), bindparam("digest", type_=LargeBinary)
_NOW, _DUE_AT = (bindparam(name, type_=DateTime(timezone=True)) for name in ("now", "due_at"))
_LIMIT = bindparam("limit", type_=BigInteger)
_FIELDS = [_reset[name] for name in PasswordReset.__dataclass_fields__]
_NEW = {
    **{column.name: bindparam(f"new_{column.name}", type_=column.type) for column in _FIELDS},
    "created_at": _NOW,
    "mail_due_at": _NOW,
    "mail_attempts": literal_column("0"),
}
# A closed account may get a reset; `find_email` and the end of the reset check that it is open.
_REPLACED = {name: value for name, value in _NEW.items() if name != "account_id"}
_INSERT = Statement(
    insert(password_resets).values(_NEW).on_conflict_do_update(index_elements=["account_id"], set_=_REPLACED)
)
_FIND_DIGEST = Statement(
    select(_reset.digest).where(
        _reset.account_id == _ACCOUNT_ID, _reset.kind == bindparam("kind", type_=Text), _reset.expires_at > _NOW
    )
)
_IS_MAIL = (_reset.account_id == _ACCOUNT_ID, _reset.digest == _DIGEST, _reset.mail_due_at.is_not(None))
_FIND_DUE = Statement(
    select(_reset.account_id).where(_reset.mail_due_at <= _NOW).order_by(_reset.mail_due_at).limit(literal_column("10"))
)
_CLAIM_MAIL = Statement(
    update(password_resets)
    .where(_reset.account_id == _ACCOUNT_ID, _reset.mail_due_at <= _NOW)
    .values(mail_due_at=_DUE_AT, mail_attempts=_reset.mail_attempts + literal_column("1"))
    .returning(*_FIELDS, _reset.mail_attempts)
)
_POSTPONE_MAIL = Statement(update(password_resets).where(*_IS_MAIL).values(mail_due_at=_DUE_AT))
_CLOSE_MAIL = Statement(update(password_resets).where(*_IS_MAIL).values(mail_due_at=null(), nonce=null()))
_TABLES = {"company": companies, "user": users}
_EMAILS = {
    kind: Statement(select(table.c.email).where(table.c.id == _ACCOUNT_ID, table.c.password_hash.is_not(None)))
    for kind, table in _TABLES.items()
}
_FIND_EXPIRED = Statement(select(_reset.account_id).where(_reset.expires_at <= _NOW).limit(_LIMIT))
_DELETE_EXPIRED = Statement(
    delete(password_resets).where(
        _reset.account_id == any_(bindparam("expired", type_=ARRAY(Uuid))), _reset.expires_at <= _NOW
    )
)


def insert_reset(connection: Connection, email: str, reset: PasswordReset, now: datetime) -> None:
    """Store a reset whose mail is due now, in place of an earlier one of the account.

    If an account has the e-mail address, its id is stored instead of that of `reset`. For an unknown address the same
    statements are sent, so it takes the same time.
    """
    values = {f"new_{name}": getattr(reset, name) for name in PasswordReset.__dataclass_fields__}
    account_id = find_account_id(connection, reset.kind, email)
    _INSERT.count(connection, {**values, "new_account_id": account_id or reset.account_id, "now": now})


def find_reset_digest(connection: Connection, account_id: UUID, kind: str, now: datetime) -> bytes | None:
    """Return the digest of the token that resets the password of an account; None: there is none."""
    digest: bytes | None = _FIND_DIGEST.value(connection, {"account_id": account_id, "kind": kind, "now": now})
    return digest


def claim_due_mail(connection: Connection, now: datetime, *, due_at: datetime) -> DueMail | None:
    """Return a mail that is due, and make it due again at `due_at`, in case this process dies."""
    values = {"now": now, "due_at": due_at}
    row = claim_first(connection, _FIND_DUE, _CLAIM_MAIL, ["account_id"], values)
    return None if row is None else DueMail(PasswordReset(*row[:-1]), row[-1])


def find_email(connection: Connection, kind: str, account_id: UUID) -> str | None:
    """Return the e-mail address of an account; None: it is missing or closed."""
    email: str | None = _EMAILS[kind].value(connection, {"account_id": account_id})
    return email


def update_mail_due(connection: Connection, reset: PasswordReset, due_at: datetime) -> None:
    """Postpone a mail, unless a newer request has replaced it."""
    _POSTPONE_MAIL.count(connection, {**_key(reset), "due_at": due_at})


def close_mail(connection: Connection, reset: PasswordReset) -> None:
    """Record that a mail is not sent again."""
    _CLOSE_MAIL.count(connection, _key(reset))


def delete_expired_resets(connection: Connection, now: datetime, *, limit: int) -> int:
    """Delete expired resets, and return how many."""
    expired = [row[0] for row in _FIND_EXPIRED.rows(connection, {"now": now, "limit": limit})]
    return _DELETE_EXPIRED.count(connection, {"now": now, "expired": expired}) if expired else 0


def _key(reset: PasswordReset) -> dict[str, Any]:
    return {"account_id": reset.account_id, "digest": reset.digest}
