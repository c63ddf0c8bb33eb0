"""Accounts are closed first, and their rows are moved afterwards in short transactions.

Processes of an earlier version keep working: they see a closed account as deleted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_UNFINISHED = sa.text("SELECT count(*) FROM account_deletions")
# Earlier versions count the activations of deleted users too.
_USER_USES = """
    INSERT INTO user_uses (user_id, activations_count)
    SELECT activations.user_id, count(*) FROM activations JOIN users ON users.id = activations.user_id
    WHERE users.email_key IS NULL GROUP BY activations.user_id
    ON CONFLICT (user_id) DO UPDATE SET activations_count = excluded.activations_count
"""


def upgrade() -> None:
    """Create the table of unfinished deletions."""
    op.create_table(
        "account_deletions",
        sa.Column("user_id", sa.Uuid, primary_key=True),
        sa.Column("placeholder_id", sa.Uuid, nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )


def downgrade() -> None:
    """Drop the table.

    Raises:
        RuntimeError: deletions are unfinished, which no earlier version would finish.
    """
    # A worker may close an account between the count and the drop.
    op.execute("LOCK TABLE account_deletions IN ACCESS EXCLUSIVE MODE")
    unfinished = op.get_bind().execute(_UNFINISHED).scalar_one()
    if unfinished:
        raise RuntimeError(f"{unfinished} account deletions are unfinished. Let a worker finish them, then try again.")
    op.execute(_USER_USES)
    op.drop_table("account_deletions")
