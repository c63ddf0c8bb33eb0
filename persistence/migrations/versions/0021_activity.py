"""Statistics over time: the activity of promos by quarter of an hour.

Triggers count, so processes of an earlier version count too, even in a statement that began before the migration: it
waits for the lock of the trigger, or the migration waits for it. The sweeper `activity_backfills` counts the rows of
the time before. It knows them by their columns (comments, redemptions), or by their time (activations, which are never
deleted). Likes have no time: earlier ones are never counted.

The clock of PostgreSQL must not be set back while the migration runs.
"""

import sqlalchemy as sa
from alembic import op

from persistence.migrations.locks import lock_tables

revision = "0021"
down_revision = "0020"

_QUARTER = """
    CREATE FUNCTION quarter_of(moment timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT date_bin('15 minutes', moment, timestamptz '2000-01-01 00:00+00')
    $$
"""
# In the order of the primary key, as the sweeper, so that there is no deadlock. One update for all added rows, because
# repeated updates of a row in one transaction become slower and slower.
_ADDED = """
    CREATE FUNCTION count_COLUMN() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO promo_activity AS stored (promo_id, quarter, country_key, COLUMN)
        SELECT promo_id, quarter_of(TIME), country_key, count(*) FROM added
        GROUP BY promo_id, quarter_of(TIME), country_key ORDER BY promo_id, quarter_of(TIME), country_key
        ON CONFLICT (promo_id, quarter, country_key) DO UPDATE SET COLUMN = stored.COLUMN + excluded.COLUMN;
        RETURN NULL;
    END $$
"""
_DELETED = """
    CREATE FUNCTION count_deleted_COLUMN() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE promo_activity SET COLUMN = COLUMN - 1
        WHERE promo_id = OLD.promo_id AND quarter = quarter_of(OLD.TIME) AND country_key = OLD.country_key;
        RETURN NULL;
    END $$
"""
# Of an earlier version, whose statements do not know the columns.
_COMPLETE_LIKE = """
    CREATE FUNCTION complete_like() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.quarter := quarter_of(clock_timestamp());
        NEW.country_key := coalesce((SELECT country_key FROM users WHERE id = NEW.user_id), '');
        RETURN NEW;
    END $$
"""
_COMPLETE_COMMENT = """
    CREATE FUNCTION complete_comment() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.country_key := coalesce((SELECT country_key FROM users WHERE id = NEW.author_id), '');
        RETURN NEW;
    END $$
"""
# As count_redemption of migration 0020: changes an unlocked part, or adds one.
_REDEMPTION = """
    CREATE FUNCTION count_redemption_activity() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        counted_quarter CONSTANT timestamptz := quarter_of(NEW.confirmed_at);
        country CONSTANT text := coalesce(NEW.country_key, '');
        is_confirmed CONSTANT boolean := NEW.state = 'confirmed';
        difference CONSTANT integer := CASE WHEN is_confirmed THEN 1 ELSE -1 END;
    BEGIN
        IF is_confirmed <> NEW.is_counted THEN
            NEW.is_counted := is_confirmed;
            UPDATE redemption_activity SET redemptions = redemptions + difference
            WHERE promo_id = NEW.promo_id AND quarter = counted_quarter AND country_key = country AND part = (
                SELECT part FROM redemption_activity
                WHERE promo_id = NEW.promo_id AND quarter = counted_quarter AND country_key = country
                LIMIT 1 FOR UPDATE SKIP LOCKED
            );
            IF NOT FOUND THEN
                INSERT INTO redemption_activity (promo_id, quarter, country_key, redemptions)
                VALUES (NEW.promo_id, counted_quarter, country, difference);
            END IF;
        END IF;
        RETURN NEW;
    END $$
"""
_TIMES = {"activations": "activated_at", "likes": "quarter", "comments": "created_at"}


def _fill(function: str, table: str) -> str:
    return function.replace("COLUMN", table).replace("TIME", _TIMES[table])


_FUNCTIONS = {
    "quarter_of(timestamptz)": _QUARTER,
    "complete_like()": _COMPLETE_LIKE,
    "complete_comment()": _COMPLETE_COMMENT,
    **{f"count_{table}()": _fill(_ADDED, table) for table in _TIMES},
    **{f"count_deleted_{table}()": _fill(_DELETED, table) for table in ("likes", "comments")},
    "count_redemption_activity()": _REDEMPTION,
}


def _on_insert(table: str) -> str:
    return f"AFTER INSERT ON {table} REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_{table}()"


_TRIGGERS = {
    "activations": {"count_activations": _on_insert("activations")},
    "redemptions": {
        "count_redemption": (
            "BEFORE INSERT ON redemptions FOR EACH ROW WHEN (NEW.state = 'confirmed')"
            " EXECUTE FUNCTION count_redemption_activity()"
        ),
        "count_changed_redemption": (
            "BEFORE UPDATE OF state ON redemptions FOR EACH ROW"
            " WHEN ((NEW.state = 'confirmed') <> (OLD.state = 'confirmed'))"
            " EXECUTE FUNCTION count_redemption_activity()"
        ),
    },
    **{
        table: {
            f"complete_{row}": (
                f"BEFORE INSERT ON {table} FOR EACH ROW WHEN (NEW.country_key IS NULL)"
                f" EXECUTE FUNCTION complete_{row}()"
            ),
            f"count_{table}": _on_insert(table),
            f"count_deleted_{table}": (
                f"AFTER DELETE ON {table} FOR EACH ROW WHEN (OLD.country_key IS NOT NULL)"
                f" EXECUTE FUNCTION count_deleted_{table}()"
            ),
        }
        for table, row in {"likes": "like", "comments": "comment"}.items()
    },
}


def upgrade() -> None:
    """Create the tables, the columns, the functions and the triggers."""
    # Also the tables that migrations 0022 and 0024 change, because all run in one transaction.
    lock_tables(
        "jobs", "promo_counters", "promos", "promo_changes", "activations", "redemptions", "likes", "comments",
        "companies", "users", "user_uses", "account_events", "account_deletions", "feed_tally_changes",
    )  # fmt: skip
    _create_tables()
    for function in _FUNCTIONS.values():
        op.execute(function)
    for table, triggers in _TRIGGERS.items():
        _add_columns(table)
        for name, definition in triggers.items():
            op.execute(f"CREATE TRIGGER {name} {definition}")
    # After the locks, so that each earlier activation has an earlier time.
    op.execute(
        "INSERT INTO activity_backfills (source, promo_id, row_id, began_at)"
        " SELECT source, first, first, clock_timestamp()"
        " FROM CAST('00000000-0000-0000-0000-000000000000' AS uuid) AS first, ("
        " SELECT 'activations' WHERE EXISTS (SELECT FROM activations)"
        " UNION ALL SELECT 'comments' WHERE EXISTS (SELECT FROM comments)"
        " UNION ALL SELECT 'redemptions' WHERE EXISTS (SELECT FROM redemptions)) AS filled (source)"
    )


def _create_tables() -> None:
    counts = ("activations", "likes", "comments")
    op.create_table(
        "promo_activity",
        *_keys(),
        *(sa.Column(name, sa.Integer, nullable=False, server_default="0") for name in counts),
        sa.PrimaryKeyConstraint("promo_id", "quarter", "country_key", name="promo_activity_pk"),
        sa.CheckConstraint("activations >= 0 AND likes >= 0 AND comments >= 0", name=op.f("promo_activity_counts_ck")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "redemption_activity",
        *_keys(),
        sa.Column("part", sa.Uuid, nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column("redemptions", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("promo_id", "quarter", "country_key", "part", name="redemption_activity_pk"),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "activity_backfills",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("promo_id", sa.Uuid, nullable=False),
        sa.Column("row_id", sa.Uuid, nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", name="activity_backfills_pk"),
        sa.CheckConstraint(
            "source IN ('activations', 'comments', 'redemptions')", name=op.f("activity_backfills_known_source_ck")
        ),
    )


def _keys() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("promo_id", sa.Uuid, nullable=False),
        sa.Column("quarter", sa.DateTime(timezone=True), nullable=False),
        sa.Column("country_key", sa.Text, nullable=False),
    )


def _add_columns(table: str) -> None:
    if table == "likes":
        op.add_column(table, sa.Column("quarter", sa.DateTime(timezone=True)))
    if table in {"likes", "comments"}:
        op.add_column(table, sa.Column("country_key", sa.Text))
    if table == "redemptions":
        op.add_column(table, sa.Column("is_counted", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Drop the statistics, and the times of likes. A later upgrade counts the rest again."""
    for table, triggers in _TRIGGERS.items():
        for name in triggers:
            op.execute(f"DROP TRIGGER {name} ON {table}")
    for function in reversed(_FUNCTIONS):
        op.execute(f"DROP FUNCTION {function}")
    op.drop_column("redemptions", "is_counted")
    op.drop_column("comments", "country_key")
    for name in ("country_key", "quarter"):
        op.drop_column("likes", name)
    for table in ("activity_backfills", "redemption_activity", "promo_activity"):
        op.drop_table(table)
