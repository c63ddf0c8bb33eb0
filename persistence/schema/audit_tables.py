"""The append-only audit log.

Triggers (migrations 0007 and 0024) refuse every change, even to the owner. Only functions that the migrations create
move events, because they set their times: `move_account_events` and `hand_over_account_log`.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    func,
)

from persistence.schema.tables import metadata

# Older promos have no 'created'.
promo_changes = Table(
    "promo_changes",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    # From 1 without gaps, so the newest number is the total.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("company_id", Uuid, nullable=False),
    # Not now(), because the transaction may have waited for another change of the promo.
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("event", Text, nullable=False),
    # {member: {"from": value, "to": value}}; no "from" if there was no value, no "to" if it was removed.
    Column("changes", JSON),
    # Of `comment_removed`; the comment no longer exists.
    Column("comment_id", Uuid),
    CheckConstraint("number > 0", name="number"),
    CheckConstraint("event IN ('created', 'changed', 'comment_removed')", name="known_event"),
    CheckConstraint("(event = 'changed') = (changes IS NOT NULL)", name="changes"),
    CheckConstraint("(event = 'comment_removed') = (comment_id IS NOT NULL)", name="comment"),
)

# Operators cause `password_reset` and `closed`, and the account itself the other events; `password_recovered` is a
# reset by mail. Without personal data. Failed sign-ins and requested mails are not recorded, or anyone could fill this
# table.
_EVENT_CHECKS = {
    "known_event": (
        "event IN ('signed_up', 'signed_in', 'signed_out', 'password_changed', 'profile_changed', 'deleted',"
        " 'password_reset', 'closed', 'key_created', 'key_revoked', 'password_recovered', "
        "'webhook_created', 'webhook_changed', 'webhook_secret_rotated', 'webhook_deleted')"
    ),
    "members": "(event = 'profile_changed') = (members IS NOT NULL)",
    "key": "(event IN ('key_created', 'key_revoked')) = (key_id IS NOT NULL)",
    "webhook": (
        "(event IN ('webhook_created', 'webhook_changed', 'webhook_secret_rotated', 'webhook_deleted'))"
        " = (webhook_id IS NOT NULL)"
    ),
}


def _event_columns() -> list[Column[Any]]:
    return [
        Column("happened_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
        Column("event", Text, nullable=False),
        Column("members", ARRAY(Text)),
        Column("key_id", Uuid),  # of the API key that was created or revoked
        Column("webhook_id", Uuid),
    ]


def _event_checks() -> list[CheckConstraint]:
    return [CheckConstraint(condition, name=name) for name, condition in _EVENT_CHECKS.items()]


# The deletion of a user moves the events to another account_id.
account_log = Table(
    "account_log",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True, server_default=func.event_id()),  # in the order of time
    *_event_columns(),
    *_event_checks(),
)

# Processes of the version before write here. A sweeper moves the rows to account_log; a later release drops the table.
account_events = Table(
    "account_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("company_id", Uuid, ForeignKey("companies.id", onupdate="CASCADE")),
    Column("user_id", Uuid),
    *_event_columns(),
    CheckConstraint("num_nonnulls(company_id, user_id) = 1", name="one_account"),
    *_event_checks(),
)
for _owner in (account_events.c.company_id, account_events.c.user_id):
    Index(f"account_events_{_owner.name}", _owner, account_events.c.id, postgresql_where=_owner.is_not(None))
