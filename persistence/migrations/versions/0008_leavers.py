"""What a user did is found by the user: to tell them all of it.

The indexes may have been built by hand before, with CREATE INDEX CONCURRENTLY: then nobody waits while they are made.
"""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("likes_user", "likes", ["user_id", "promo_id"], if_not_exists=True)
    op.create_index("comments_author", "comments", ["author_id", "created_at", "id"], if_not_exists=True)


def downgrade() -> None:
    """Drop the indexes."""
    op.drop_index("comments_author", "comments")
    op.drop_index("likes_user", "likes")
