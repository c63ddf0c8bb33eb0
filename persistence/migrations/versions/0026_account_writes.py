"""Positions of writes in the WAL, for reads from replicas.

Processes of an earlier version keep working, but store no positions: set POSTGRES_READ_HOST after the last of them has
stopped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "account_writes",
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("lsn", sa.BigInteger, nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.PrimaryKeyConstraint("account_id", name="account_writes_pk"),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": "50", "vacuum_truncate": "false"},
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("account_writes")
