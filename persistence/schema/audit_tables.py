"""The audit log: who changed what, and when. Append-only; written in the transaction of the change.

Triggers (migration 0007) refuse UPDATE, DELETE and TRUNCATE to every role, also to the owner of the tables, because
many deployments have a single role. They permit ON UPDATE CASCADE, which runs inside a trigger. Revoked privileges
would not do: a cascade runs with those of the owner. Inserts wait for no lock: the row in promo_counters, or the row of
the account, is locked already.
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

# A creation ('created') or a change ('changed') of a promo by its company. `changes` has the changed members of the
# API's promo: {member: {"from": value, "to": value}}, without "from" if there was no value. Codes never change and are
# not logged. `number` counts from 1 without gaps, so the newest number is the total, and a page is a range of numbers.
# Promos older than this table have no 'created'.
promo_changes = Table(
    "promo_changes",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("company_id", Uuid, ForeignKey("companies.id"), nullable=False),
    # Not now(): the transaction may have waited for another change of the promo.
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("event", Text, nullable=False),
    Column("changes", JSON),
    CheckConstraint("number > 0", name="number"),
    CheckConstraint("event IN ('created', 'changed')", name="known_event"),
    CheckConstraint("(event = 'changed') = (changes IS NOT NULL)", name="changes"),
)

# An event of an account. It holds ids and words, so no personal data outlives the account here. `members` has the names
# of the profile's changed members. Failed sign-ins are not logged here, or anyone could fill the table; they are
# limited, and logged elsewhere. A deleted user gets another id, and the rows follow: hence ON UPDATE CASCADE, and an
# index for it.
account_events = Table(
    "account_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("company_id", Uuid, ForeignKey("companies.id", onupdate="CASCADE")),
    Column("user_id", Uuid, ForeignKey("users.id", onupdate="CASCADE")),
    Column("happened_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("event", Text, nullable=False),
    Column("members", ARRAY(Text)),
    CheckConstraint("num_nonnulls(company_id, user_id) = 1", name="one_account"),
    CheckConstraint(
        "event IN ('signed_up', 'signed_in', 'signed_out', 'password_changed', 'profile_changed', 'deleted')",
        name="known_event",
    ),
    CheckConstraint("(event = 'profile_changed') = (members IS NOT NULL)", name="members"),
)
for _owner in (account_events.c.company_id, account_events.c.user_id):
    Index(f"account_events_{_owner.name}", _owner, account_events.c.id, postgresql_where=_owner.is_not(None))
