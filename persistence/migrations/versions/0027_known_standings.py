"""Each feed entry has a standing, so that a feed reads no table of the promos.

The versions since 0010 write it, and their sweeper has computed it for earlier entries. Processes of the version before
keep working.
"""

from alembic import op

from persistence.migrations.locks import lock_tables

revision = "0027"
down_revision = "0026"

# Of entries that the sweeper has not reached, for the business day.
_COMPLETE = """
    UPDATE feed_entries SET standing = CASE
        WHEN promo_counters.used_count >= promo_counters.use_limit OR promos.paused THEN 'exhausted'
        WHEN feed_entries.active_from > (now() AT TIME ZONE 'UTC' + interval '3 hours')::date THEN 'scheduled'
        WHEN feed_entries.active_until <= (now() AT TIME ZONE 'UTC' + interval '3 hours')::date THEN 'ending'
        ELSE 'live'
    END
    FROM promos JOIN promo_counters ON promo_counters.promo_id = promos.id
    WHERE feed_entries.standing IS NULL AND promos.id = feed_entries.promo_id
"""


def upgrade() -> None:
    """Complete the standings, and drop the index of unknown ones."""
    lock_tables("promo_counters", "promos", "feed_entries")
    op.execute(_COMPLETE)
    op.alter_column("feed_entries", "standing", nullable=False)
    op.execute("DROP INDEX feed_entries_unknown")


def downgrade() -> None:
    """Allow unknown standings again."""
    op.alter_column("feed_entries", "standing", nullable=True)
    op.execute("CREATE INDEX feed_entries_unknown ON feed_entries (created_at) WHERE standing IS NULL")
