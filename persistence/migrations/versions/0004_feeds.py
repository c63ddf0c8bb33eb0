"""Derived tables for feeds: entries in feed order, and counts."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_ENTRIES = """
    INSERT INTO feed_entries
    SELECT DISTINCT unnest(category_keys || ''::text), coalesce(country_key, ''), created_at, id,
        age_from, age_until, active_from, active_until
    FROM promos
"""
_TALLIES = """
    WITH corners AS (
        SELECT category.key AS category_key, coalesce(country_key, '') AS country_key,
            age.at AS age, age.sign, active_from, active_until, used_count < use_limit AS usable
        FROM promos
        JOIN promo_counters ON promo_id = id
        CROSS JOIN LATERAL (SELECT DISTINCT unnest(category_keys || ''::text) AS key) AS category
        JOIN LATERAL (VALUES (coalesce(age_from, 0), 1), (age_until + 1, -1)) AS age (at, sign) ON age.at IS NOT NULL
    ), days AS (
        SELECT category_key, country_key, age, day.at, sum(corners.sign * day.sign) AS promo_count
        FROM corners
        JOIN LATERAL (VALUES (coalesce(active_from, date '0001-01-01'), 1), (active_until + 1, -1)) AS day (at, sign)
            ON day.at IS NOT NULL
        WHERE usable
        GROUP BY category_key, country_key, age, day.at
    ), tallies AS (
        SELECT category_key, country_key, 'ever' AS span, date '0001-01-01' AS starts_on, age, sign AS promo_count
        FROM corners
        UNION ALL
        SELECT category_key, country_key, span, date_trunc(span, at::timestamp)::date, age, promo_count
        FROM days CROSS JOIN unnest(ARRAY['year', 'month', 'day']) AS span
    )
    INSERT INTO feed_tallies
    SELECT category_key, country_key, span, starts_on, age, sum(promo_count)
    FROM tallies
    GROUP BY category_key, country_key, span, starts_on, age
    HAVING sum(promo_count) <> 0
"""


def upgrade() -> None:
    """Create the tables, fill them, and drop the indexes that feeds used before.

    The lock blocks changes of promos and activations, which would otherwise be missing.
    """
    op.execute("LOCK TABLE promos, promo_counters IN SHARE MODE")
    _create_entries()
    _create_tallies()
    op.execute(_ENTRIES)
    op.execute(_TALLIES)
    op.execute("ANALYZE feed_entries")
    op.execute("ANALYZE feed_tallies")
    op.drop_index("promos_newest", "promos")
    op.drop_index("promos_category", "promos")


def _create_entries() -> None:
    op.create_table(
        "feed_entries",
        sa.Column("category_key", sa.Text, nullable=False),
        sa.Column("country_key", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("promo_id", sa.Uuid, nullable=False),
        sa.Column("age_from", sa.SmallInteger),
        sa.Column("age_until", sa.SmallInteger),
        sa.Column("active_from", sa.Date),
        sa.Column("active_until", sa.Date),
        sa.PrimaryKeyConstraint(
            "category_key",
            "country_key",
            "created_at",
            "promo_id",
            name=op.f("feed_entries_pk"),
            postgresql_include=["age_from", "age_until", "active_from", "active_until"],
        ),
    )


def _create_tallies() -> None:
    op.create_table(
        "feed_tallies",
        sa.Column("category_key", sa.Text, primary_key=True),
        sa.Column("country_key", sa.Text, primary_key=True),
        sa.Column("span", sa.Text, primary_key=True),
        sa.Column("starts_on", sa.Date, primary_key=True),
        sa.Column("age", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("promo_count", sa.Integer, nullable=False),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_table(
        "feed_tally_changes",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("promo_count", sa.SmallInteger, nullable=False),
        sa.Column("usable_count", sa.SmallInteger, nullable=False),
        sa.Column("country_key", sa.Text),
        sa.Column("age_from", sa.SmallInteger),
        sa.Column("age_until", sa.SmallInteger),
        sa.Column("category_keys", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("active_from", sa.Date),
        sa.Column("active_until", sa.Date),
    )
    op.create_index("feed_tally_changes_country", "feed_tally_changes", ["country_key"])


def downgrade() -> None:
    """Drop the tables."""
    op.create_index("promos_newest", "promos", [sa.text("created_at DESC"), sa.text("id DESC")])
    op.create_index("promos_category", "promos", ["category_keys"], postgresql_using="gin")
    for table in ("feed_tally_changes", "feed_tallies", "feed_entries"):
        op.drop_table(table)
