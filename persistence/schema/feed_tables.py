"""Derived tables of feeds: entries and counts."""

from sqlalchemy import (
    ARRAY,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    case,
    func,
    literal_column,
    or_,
    text,
)
from sqlalchemy.sql.elements import Grouping

from persistence.schema.tables import metadata

# One row of a promo for unfiltered feeds, and one for each category. The primary key is the feed order, and INCLUDE has
# the conditions, so a page is one index-only scan.
feed_entries = Table(
    "feed_entries",
    metadata,
    Column("category_key", Text, nullable=False),  # '': unfiltered feeds
    Column("country_key", Text, nullable=False),  # '': all countries
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("promo_id", Uuid, nullable=False),
    *(Column(name, SmallInteger) for name in ("age_from", "age_until")),
    *(Column(name, Date) for name in ("active_from", "active_until")),
    PrimaryKeyConstraint(
        *("category_key", "country_key", "created_at", "promo_id"),
        postgresql_include=["age_from", "age_until", "active_from", "active_until"],
    ),
    Column("standing", Text, key="status", nullable=False),
)
# exhausted: no use left, or paused; exact, because claim_uses sets it with the last use. The others may
# be outdated, so readers check the period again: scheduled has not begun, ending is on its last day or over, live is
# neither. Literals, because the planner must see them to use the partial indexes.
LIVE, SCHEDULED, ENDING, EXHAUSTED = (
    literal_column(f"'{status}'", Text) for status in ("live", "scheduled", "ending", "exhausted")
)
# As in the index, which is from a time when some entries had none.
IS_LIVE = or_(feed_entries.c.status.is_(None), feed_entries.c.status == LIVE)
IS_DATED = feed_entries.c.status.in_((SCHEDULED, ENDING))
DATE = case((feed_entries.c.status == SCHEDULED, feed_entries.c.active_from), else_=feed_entries.c.active_until)
# Hides the primary key, which has exhausted entries too, from the planner of feeds of active promos.
HIDDEN_CATEGORY_KEY = feed_entries.c.category_key.op("||")(literal_column("''", Text))
_FEED_ORDER = (HIDDEN_CATEGORY_KEY, *(feed_entries.c[name] for name in ("country_key", "created_at", "promo_id")))
Index(
    "feed_entries_live",
    *_FEED_ORDER,
    # An index-only scan needs category_key itself.
    postgresql_include=["category_key", "status", "age_from", "age_until", "active_from", "active_until"],
    postgresql_where=IS_LIVE,
)
Index("feed_entries_dated", feed_entries.c.status, Grouping(DATE), *_FEED_ORDER, postgresql_where=IS_DATED)
# For the sweeper.
Index("feed_entries_live_until", feed_entries.c.active_until, postgresql_where=feed_entries.c.status == LIVE)
# A key of an earlier version, which was case-folded only. No key of this version is like that (migration 0011).
HAS_OUTDATED_KEY = or_(
    text("category_key IS NOT NFC NORMALIZED"), feed_entries.c.category_key.op("~")(literal_column("'\u0131|i\u0307'"))
)
Index("feed_entries_outdated_key", feed_entries.c.promo_id, postgresql_where=HAS_OUTDATED_KEY)

# Prefix sums (see feeds.feed_counts).
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

# Changes not merged into feed_counts yet: promo_count more promos of this target and period, usable_count more with a
# use left.
feed_count_changes = Table(
    "feed_tally_changes",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("promo_count", SmallInteger, nullable=False),
    Column("usable_count", SmallInteger, nullable=False),
    Column("country_key", Text),
    *(Column(name, SmallInteger) for name in ("age_from", "age_until")),
    Column("category_keys", ARRAY(Text), nullable=False),
    *(Column(name, Date) for name in ("active_from", "active_until")),
)
Index("feed_tally_changes_country", feed_count_changes.c.country_key)
