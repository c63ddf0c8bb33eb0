"""The stored number of activations of a user, for the total of the history.

Stop the service first: processes of an earlier version do not count by user.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_USER_USES = """
    INSERT INTO user_uses (user_id, activations_count)
    SELECT user_id, count(*) FROM activations GROUP BY user_id
"""


def upgrade() -> None:
    """Create the table, and fill it."""
    # Rows that are inserted meanwhile would not be counted.
    op.execute("LOCK TABLE activations IN ACCESS EXCLUSIVE MODE")
    op.create_table(
        "user_uses",
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("activations_count", sa.Integer, nullable=False),
        sa.CheckConstraint("activations_count > 0", name=op.f("user_uses_activations_ck")),
        postgresql_with={"fillfactor": "50"},
    )
    op.execute(_USER_USES)


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("user_uses")
