"""Codes are issued in order, without a search for a free code.

Processes of an earlier version keep working: they search, and issue the same codes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Drop the index of free codes, which each activation of a UNIQUE promo had to update."""
    op.drop_index("promo_codes_free", "promo_codes")


def downgrade() -> None:
    """Create the index of free codes."""
    op.create_index(
        "promo_codes_free",
        "promo_codes",
        ["promo_id", "position"],
        postgresql_where=sa.text("activation_id IS NULL"),
    )
