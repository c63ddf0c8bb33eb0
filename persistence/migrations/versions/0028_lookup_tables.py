"""Tables that find the promo of a code and of a redemption, by company, on several servers.

Processes of an earlier version keep working.
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "code_lookup",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("code_hash", sa.BigInteger, nullable=False),
        sa.Column("promo_id", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("company_id", "code_hash", "promo_id", name="code_lookup_pk"),
    )
    op.create_table(
        "redemption_lookup",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("promo_id", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("company_id", "id", name="redemption_lookup_pk"),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("redemption_lookup")
    op.drop_table("code_lookup")
