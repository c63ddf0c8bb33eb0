"""The append-only audit log.

Triggers (migration 0007) refuse every change except ON UPDATE CASCADE, even to the owner. Revoked privileges
would stop the cascade too.
"""

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
    Column("company_id", Uuid, ForeignKey("companies.id"), nullable=False),
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
account_events = Table(
    "account_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("company_id", Uuid, ForeignKey("companies.id", onupdate="CASCADE")),
    # CASCADE: a deleted user gets another id.
    Column("user_id", Uuid, ForeignKey("users.id", onupdate="CASCADE")),
    Column("happened_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("event", Text, nullable=False),
    Column("members", ARRAY(Text)),
    Column("key_id", Uuid),  # of the API key that was created or revoked
    Column("webhook_id", Uuid),
    CheckConstraint("num_nonnulls(company_id, user_id) = 1", name="one_account"),
    CheckConstraint(
        "event IN ('signed_up', 'signed_in', 'signed_out', 'password_changed', 'profile_changed', 'deleted',"
        " 'password_reset', 'closed', 'key_created', 'key_revoked', 'password_recovered', "
        "'webhook_created', 'webhook_changed', 'webhook_secret_rotated', 'webhook_deleted')",
        name="known_event",
    ),
    CheckConstraint("(event = 'profile_changed') = (members IS NOT NULL)", name="members"),
    CheckConstraint("(event IN ('key_created', 'key_revoked')) = (key_id IS NOT NULL)", name="key"),
    CheckConstraint(
        "(event IN ('webhook_created', 'webhook_changed', 'webhook_secret_rotated', 'webhook_deleted'))"
        " = (webhook_id IS NOT NULL)",
        name="webhook",
    ),
)
for _owner in (account_events.c.company_id, account_events.c.user_id):
    Index(f"account_events_{_owner.name}", _owner, account_events.c.id, postgresql_where=_owner.is_not(None))
