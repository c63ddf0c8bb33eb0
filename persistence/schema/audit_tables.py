"""The tables of the trail: who changed what, and when. Rows are inserted with what they tell of, by the same statement
or in the same transaction, and from then on they stay as they are.

That they do is more than a habit: a trigger of each table (migration 0007) refuses UPDATE, DELETE and TRUNCATE to
every role, the owner of the tables among them, since many deployments have one role for everything. It lets pass only
what a foreign key does by itself, ON UPDATE CASCADE: that runs inside of a trigger, and a statement of the service does
not. Not privileges alone, which a cascade needs as well, as the owner has them. Rows take no lock that others wait for:
those of a promo are inserted under the lock of its row in promo_counters, those of an account under that of its own.
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

# One thing that a company did to a promo: it made it ('created'), or changed it ('changed'). Of a change `changes` has
# the members of the API's promo that are different since then: {member: {"from": value, "to": value}}, the values as
# the API writes them, "from" left out where there was none. Codes never change, and stand in no entry.
# The entries of a promo are numbered from one on without a gap: so the number of the newest tells how many there are,
# and a page is found by its numbers. Promos that are older than this table have no 'created'.
promo_changes = Table(
    "promo_changes",
    metadata,
    Column("promo_id", Uuid, ForeignKey("promos.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("company_id", Uuid, ForeignKey("companies.id"), nullable=False),
    # Not the beginning of the transaction, which may have waited for another one of the same promo.
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("event", Text, nullable=False),
    Column("changes", JSON),
    CheckConstraint("number > 0", name="number"),
    CheckConstraint("event IN ('created', 'changed')", name="known_event"),
    CheckConstraint("(event = 'changed') = (changes IS NOT NULL)", name="changes"),
)

# One thing that happened to an account, a company's or a user's: ids and words only, so that nobody's data outlive
# their account in it. `members` are the names of those that a change of the profile changed. Sign-ins that failed are
# nobody's doing that is known, and would let anybody write here; they are limited and logged instead.
# A user who is deleted gets another id, and the rows follow: hence ON UPDATE CASCADE, and an index for it.
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
