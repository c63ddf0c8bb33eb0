"""Codes are issued in their order, so nobody looks for a free one any more.

A process of an earlier version, which goes on, issues the same ones: it looks for the first that is free.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Drop the index of free codes, which each use of a UNIQUE promo had to change."""
    op.drop_index("promo_codes_free", "promo_codes")


def downgrade() -> None:
    """Make the index of free codes."""
    op.create_index(
        "promo_codes_free",
        "promo_codes",
        ["promo_id", "position"],
        postgresql_where=sa.text("activation_id IS NULL"),
    )
