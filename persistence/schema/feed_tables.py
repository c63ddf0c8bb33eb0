"""Derived tables of feeds: entries in feed order, and counts for exact totals."""

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

# The position of a promo in feeds: one row with category '' for unfiltered feeds, and one row for each category.
# country_key is '' for all countries. Written by feed_index in the transaction that changes the promo. The primary key
# is the order of a feed, and its INCLUDE columns decide whether a promo fits a user, so a page is one index-only scan.
# No foreign key: promos are never deleted.
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
# `standing` says whether a feed of active promos reads an entry. `exhausted` (no use left) is exact in every snapshot:
# a trigger of promo_counters (migration 0010) sets it when the last use is taken, also for entries that were inserted
# while the claim waited for its lock. The other values compare the period with the day of the last write, so readers
# check the period again: `scheduled` has not begun, `ending` has its last day or is over, `live` is neither. NULL: an
# entry of an older version that the sweeper has not updated yet; readers then check the uses too.
# These are literals because the planner must see the values to use the partial indexes.
LIVE, SCHEDULED, ENDING, EXHAUSTED = (
    literal_column(f"'{standing}'", Text) for standing in ("live", "scheduled", "ending", "exhausted")
)
IS_LIVE = or_(feed_entries.c.standing.is_(None), feed_entries.c.standing == LIVE)
IS_DATED = feed_entries.c.standing.in_((SCHEDULED, ENDING))
# Scheduled entries are read by their first day, and ending ones by their last.
DATE = case((feed_entries.c.standing == SCHEDULED, feed_entries.c.active_from), else_=feed_entries.c.active_until)
# Feeds of active promos compare this expression with the category. It keeps the planner from the primary key, where it
# would read past all exhausted entries.
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

# Counts of promos as prefix sums; feed_counts explains them. In the database they have the name of their first version,
# and the span `all` has the value 'ever'.
feed_counts = Table(
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

# Changes that are not merged into feed_counts yet: promo_count more promos of this targeting and period, usable_count
# of them with a use left. Written by the transaction that adds or changes a promo or takes its last use. Inserts do not
# block each other. The sweeper merges and deletes them. A total is the sum of both tables.
feed_count_changes = Table(
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
Index("feed_tally_changes_country", feed_count_changes.c.country_key)
