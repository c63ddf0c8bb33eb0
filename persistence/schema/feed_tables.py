"""The tables that feeds are read from: entries in their order, and how many promos there are."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    case,
    literal_column,
    or_,
)
from sqlalchemy.sql.elements import Grouping

from persistence.schema.tables import metadata

# Where a promo stands in feeds: one row under the category '' that a feed without a filter reads, and one under each of
# its categories. country_key is '' when it is for all countries. Made from promos by listings, in the transaction that
# changes them: read by the primary key, it is a feed in its order, of which a page is a piece; the index has all that
# tells whether the promo fits a user. Not a foreign key, since it never outlives its promo: promos are not deleted.
feed_entries = Table(
    "feed_entries",
    metadata,
    Column("category_key", Text, nullable=False),
    Column("country_key", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("promo_id", Uuid, nullable=False),
    *(Column(name, SmallInteger) for name in ("age_from", "age_until")),
    *(Column(name, Date) for name in ("active_from", "active_until")),
    PrimaryKeyConstraint(
        *("category_key", "country_key", "created_at", "promo_id"),
        postgresql_include=["age_from", "age_until", "active_from", "active_until"],
    ),
    Column("standing", Text),
)
# The standing of an entry says whether a feed of active promos reads it. `exhausted` is exact in every snapshot: no use
# is left. The others have a use left. They compare the period with the day of the last write, so readers check the
# period again: `scheduled` had not begun, `ending` had its last day or was over, `live` was neither. NULL means that
# the sweeper has not computed it yet, for an entry of an older version: readers check the uses too.
# A trigger of promo_counters (migration 0010) marks the entries when the last use is taken. Other claims do not pay for
# it, and it sees entries that were inserted while the claim waited for its lock.
# No parameters: the planner must see these values to use the partial indexes.
LIVE, SCHEDULED, ENDING, EXHAUSTED = (
    literal_column(f"'{standing}'", Text) for standing in ("live", "scheduled", "ending", "exhausted")
)
IS_LIVE = or_(feed_entries.c.standing.is_(None), feed_entries.c.standing == LIVE)
IS_DATED = feed_entries.c.standing.in_((SCHEDULED, ENDING))
# Scheduled entries are read by their first day, and ending ones by their last.
DATE = case((feed_entries.c.standing == SCHEDULED, feed_entries.c.active_from), else_=feed_entries.c.active_until)
# A feed of active promos compares this expression with its category, so the planner cannot use the primary key. It
# would otherwise prefer it at times, and read past all exhausted entries.
HIDDEN_CATEGORY_KEY = feed_entries.c.category_key.op("||")(literal_column("''", Text))
_FEED_ORDER = (HIDDEN_CATEGORY_KEY, *(feed_entries.c[name] for name in ("country_key", "created_at", "promo_id")))
Index(
    "feed_entries_live",
    *_FEED_ORDER,
    # For an index-only scan PostgreSQL needs category_key too, the column in the expression.
    postgresql_include=["category_key", "standing", "age_from", "age_until", "active_from", "active_until"],
    postgresql_where=IS_LIVE,
)
Index("feed_entries_dated", feed_entries.c.standing, Grouping(DATE), *_FEED_ORDER, postgresql_where=IS_DATED)
# The sweeper finds entries by these: live entries on their last day, and entries of unknown standing.
Index("feed_entries_live_until", feed_entries.c.active_until, postgresql_where=feed_entries.c.standing == LIVE)
Index("feed_entries_unknown", feed_entries.c.created_at, postgresql_where=feed_entries.c.standing.is_(None))

# How many promos stand in feeds; `tallies` says what the numbers mean, and writes them.
feed_tallies = Table(
    "feed_tallies",
    metadata,
    Column("category_key", Text, primary_key=True),
    Column("country_key", Text, primary_key=True),
    Column("span", Text, primary_key=True),
    Column("starts_on", Date, primary_key=True),
    Column("age", SmallInteger, primary_key=True, autoincrement=False),
    Column("promo_count", Integer, nullable=False),
    postgresql_with={"fillfactor": "80"},
)

# What feed_tallies do not count yet: promo_count more promos, usable_count of them with a use left, of this targeting
# and period. Only ever inserted, so that nobody waits for anybody, in the transaction that adds a promo, changes it or
# takes its last use; folded into feed_tallies and deleted by the sweeper. The total is always the sum of both tables.
feed_tally_changes = Table(
    "feed_tally_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("promo_count", SmallInteger, nullable=False),
    Column("usable_count", SmallInteger, nullable=False),
    Column("country_key", Text),
    *(Column(name, SmallInteger) for name in ("age_from", "age_until")),
    Column("category_keys", ARRAY(Text), nullable=False),
    *(Column(name, Date) for name in ("active_from", "active_until")),
)
Index("feed_tally_changes_country", feed_tally_changes.c.country_key)
