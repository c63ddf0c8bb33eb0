"""Stored counts and code lists, so that reading them takes the same time as they grow.

Stop the service first: processes of an earlier version do not count by country.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NEWEST = [sa.text("created_at DESC"), sa.text("id DESC")]
_ORDERS = {
    "newest": _NEWEST,
    "active_from": [sa.text("active_from DESC NULLS LAST"), *_NEWEST],
    "active_until": [sa.text("active_until DESC NULLS FIRST"), *_NEWEST],
}
_TARGET_KEY = sa.text("coalesce(country_key, '')")
_COUNTRY_USES = """
    INSERT INTO country_uses (promo_id, country_key, activations_count)
    SELECT promo_id, country_key, count(*) FROM activations GROUP BY promo_id, country_key
"""
_COMPANY_COUNTS = """
    INSERT INTO company_promo_counts (company_id, country_key, promos_count)
    SELECT company_id, coalesce(country_key, ''), count(*) FROM promos GROUP BY 1, 2
"""
_CODES = """
    UPDATE promos SET promo_unique =
        (SELECT json_agg(value ORDER BY position) FROM promo_codes WHERE promo_codes.promo_id = promos.id)
    WHERE mode = 'UNIQUE'
"""


def upgrade() -> None:
    """Create the tables, the column and the indexes, and fill them."""
    # Rows that are inserted meanwhile would not be counted. It is the strongest lock that the migration needs, because
    # a later upgrade of a weaker lock could deadlock.
    op.execute("LOCK TABLE promos, activations IN ACCESS EXCLUSIVE MODE")
    _create_country_uses()
    _create_company_counts()
    _add_code_lists()
    for name, order in _ORDERS.items():
        if name != "newest":
            op.create_index(f"promos_company_{name}", "promos", ["company_id", *order])
        op.create_index(f"promos_country_{name}", "promos", ["company_id", _TARGET_KEY, *order])


def _create_country_uses() -> None:
    op.create_table(
        "country_uses",
        sa.Column("promo_id", sa.Uuid, sa.ForeignKey("promos.id"), primary_key=True),
        sa.Column("country_key", sa.Text, primary_key=True),
        sa.Column("activations_count", sa.Integer, nullable=False),
        sa.CheckConstraint("activations_count > 0", name=op.f("country_uses_activations_ck")),
        postgresql_with={"fillfactor": "50"},
    )
    op.execute(_COUNTRY_USES)
    op.drop_index("activations_country", "activations")


def _create_company_counts() -> None:
    op.create_table(
        "company_promo_counts",
        sa.Column("company_id", sa.Uuid, sa.ForeignKey("companies.id"), primary_key=True),
        sa.Column("country_key", sa.Text, primary_key=True),
        sa.Column("part", sa.Uuid, primary_key=True, server_default=sa.func.gen_random_uuid()),
        sa.Column("promos_count", sa.Integer, nullable=False),
        postgresql_with={"fillfactor": "50"},
    )
    op.execute(_COMPANY_COUNTS)


def _add_code_lists() -> None:
    op.add_column("promos", sa.Column("promo_unique", sa.JSON))
    op.execute(_CODES)
    op.create_check_constraint(
        op.f("promos_unique_mode_ck"), "promos", "(mode = 'UNIQUE') = (promo_unique IS NOT NULL)"
    )


def downgrade() -> None:
    """Drop the tables, the column and the indexes."""
    for name in _ORDERS:
        if name != "newest":
            op.drop_index(f"promos_company_{name}", "promos")
        op.drop_index(f"promos_country_{name}", "promos")
    op.drop_constraint(op.f("promos_unique_mode_ck"), "promos")
    op.drop_column("promos", "promo_unique")
    op.drop_table("company_promo_counts")
    op.create_index("activations_country", "activations", ["promo_id", "country_key"])
    op.drop_table("country_uses")
