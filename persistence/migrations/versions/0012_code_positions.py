"""Activations name the position of their code, so that a code is found again by the primary key of the codes.

Processes of an earlier version keep working: they leave the column empty, and codes of such activations are found by a
scan of the codes of their promo.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column, empty."""
    op.add_column("activations", sa.Column("code_position", sa.Integer))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("activations", "code_position")
