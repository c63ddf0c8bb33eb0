"""Companies remove comments and switch them off; users report comments.

Processes of an earlier version keep working, but accept comments on promos whose comments are switched off.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_REMOVALS = sa.text("SELECT count(*) FROM promo_changes WHERE event = 'comment_removed'")
_KNOWN_EVENT, _COMMENT = "promo_changes_known_event_ck", "promo_changes_comment_ck"


def upgrade() -> None:
    """Add the columns, the event and the table of reports."""
    op.add_column("promos", sa.Column("comments_enabled", sa.Boolean, nullable=False, server_default=sa.true()))
    column = sa.Column("report_count", sa.Integer, nullable=False, server_default="0")
    op.add_column("comments", column, if_not_exists=True)
    op.create_check_constraint(op.f("comments_reports_ck"), "comments", "report_count >= 0")
    op.create_index(
        "comments_reported",
        "comments",
        ["promo_id", sa.text("created_at DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("report_count > 0"),
        if_not_exists=True,
    )
    op.add_column("promo_changes", sa.Column("comment_id", sa.Uuid))
    _set_events("'created', 'changed', 'comment_removed'")
    condition = "(event = 'comment_removed') = (comment_id IS NOT NULL)"
    op.create_check_constraint(op.f(_COMMENT), "promo_changes", condition)
    _create_reports()


def _set_events(events: str) -> None:
    op.drop_constraint(op.f(_KNOWN_EVENT), "promo_changes")
    op.create_check_constraint(op.f(_KNOWN_EVENT), "promo_changes", f"event IN ({events})")


def _create_reports() -> None:
    op.create_table(
        "comment_reports",
        sa.Column("promo_id", sa.Uuid, primary_key=True),
        sa.Column("comment_id", sa.Uuid, primary_key=True),
        sa.Column("user_id", sa.Uuid, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.ForeignKeyConstraint(
            ["promo_id", "comment_id"],
            ["comments.promo_id", "comments.id"],
            name=op.f("comment_reports_comment_fk"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("comment_reports_user", "comment_reports", ["user_id", "promo_id", "comment_id"])
    op.create_index(
        "comment_reports_newest",
        "comment_reports",
        ["promo_id", "comment_id", sa.text("reported_at DESC"), sa.text("user_id DESC")],
    )


def downgrade() -> None:
    """Remove the reports, the column and the event.

    Raises:
        RuntimeError: the audit log has removed comments, which no earlier version knows and which must not change.
    """
    if op.get_bind().execute(_REMOVALS).scalar_one():
        raise RuntimeError("The audit log has removed comments, which an earlier version cannot have.")
    op.drop_table("comment_reports")
    op.drop_constraint(op.f(_COMMENT), "promo_changes")
    _set_events("'created', 'changed'")
    op.drop_column("promo_changes", "comment_id")
    op.drop_index("comments_reported", "comments")
    op.drop_column("comments", "report_count")
    op.drop_column("promos", "comments_enabled")
