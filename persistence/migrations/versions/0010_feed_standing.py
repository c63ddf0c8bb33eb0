"""The status (`standing`) of feed entries, so that a feed of active promos skips the others.

The column and the indexes may exist already: on a large table, create them beforehand (see docs/deployment.md). The
sweeper computes the status of existing entries.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_IS_LIVE = "standing IS NULL OR standing = 'live'"
_DATE = sa.text("(CASE WHEN standing = 'scheduled' THEN active_from ELSE active_until END)")
_ORDER = [sa.text("(category_key || '')"), "country_key", "created_at", "promo_id"]
_INCLUDED = ["category_key", "standing", "age_from", "age_until", "active_from", "active_until"]


_FUNCTION = """
    CREATE FUNCTION mark_feed_entries_exhausted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE feed_entries SET standing = 'exhausted'
        FROM promos
        WHERE promos.id = NEW.promo_id
            AND feed_entries.category_key = ANY (promos.category_keys || ''::text)
            AND feed_entries.country_key = coalesce(promos.country_key, '')
            AND feed_entries.created_at = promos.created_at
            AND feed_entries.promo_id = promos.id;
        RETURN NULL;
    END $$
"""
_TRIGGER = """
    CREATE TRIGGER mark_feed_entries_exhausted AFTER UPDATE OF used_count ON promo_counters
    FOR EACH ROW WHEN (NEW.used_count = NEW.use_limit) EXECUTE FUNCTION mark_feed_entries_exhausted()
"""


def upgrade() -> None:
    """Add the column, empty, and its indexes."""
    op.execute("ALTER TABLE feed_entries ADD COLUMN IF NOT EXISTS standing text")
    _create_index("live", _ORDER, _IS_LIVE, postgresql_include=_INCLUDED)
    _create_index("dated", ["standing", _DATE, *_ORDER], "standing IN ('scheduled', 'ending')")
    _create_index("live_until", ["active_until"], "standing = 'live'")
    _create_index("unknown", ["created_at"], "standing IS NULL")
    op.execute(_FUNCTION)
    op.execute(_TRIGGER)


def _create_index(name: str, columns: list[Any], condition: str, **options: Any) -> None:
    where = sa.text(condition)
    op.create_index(
        f"feed_entries_{name}", "feed_entries", columns, postgresql_where=where, if_not_exists=True, **options
    )


def downgrade() -> None:
    """Drop the trigger and the column, and its indexes with it."""
    op.execute("DROP TRIGGER mark_feed_entries_exhausted ON promo_counters")
    op.execute("DROP FUNCTION mark_feed_entries_exhausted()")
    op.drop_column("feed_entries", "standing")
