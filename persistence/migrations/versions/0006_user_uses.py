"""The number of activations of each user is kept, so that a history takes no longer as it grows.

It is for a service that stands still: a process of an earlier version, which goes on, would count nothing by user.
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
    """Make the table, and fill it from the rows that it tells of."""
    # What is written meanwhile would be in no number.
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
    """Take the table away: it can be made again from the rows."""
    op.drop_table("user_uses")
