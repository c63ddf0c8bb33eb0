"""Forgotten passwords are reset by mail: the table of resets, and an event.

Processes of an earlier version keep working: they do not end the resets of an account that they close, or whose
password they replace. A reset of a closed account is refused.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_EVENTS = (
    "signed_up", "signed_in", "signed_out", "password_changed", "profile_changed", "deleted", "password_reset",
    "closed", "key_created", "key_revoked",
)  # fmt: skip
_RECORDED = sa.text("SELECT count(*) FROM account_events WHERE event = 'password_recovered'")


def upgrade() -> None:
    """Create the table and permit the event."""
    op.create_table(
        "password_resets",
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("nonce", sa.LargeBinary),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mail_due_at", sa.DateTime(timezone=True)),
        sa.Column("mail_attempts", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("account_id", name="password_resets_pk"),
        sa.CheckConstraint("kind IN ('company', 'user')", name=op.f("password_resets_known_kind_ck")),
        sa.CheckConstraint("(nonce IS NULL) = (mail_due_at IS NULL)", name=op.f("password_resets_mail_ck")),
    )
    op.create_index(
        "password_resets_due",
        "password_resets",
        ["mail_due_at"],
        postgresql_where=sa.text("mail_due_at IS NOT NULL"),
    )
    op.create_index("password_resets_expiry", "password_resets", ["expires_at"])
    _set_events((*_EVENTS, "password_recovered"))


def _set_events(events: tuple[str, ...]) -> None:
    name = op.f("account_events_known_event_ck")
    op.drop_constraint(name, "account_events")
    op.create_check_constraint(name, "account_events", f"event IN ({', '.join(map(repr, events))})")


def downgrade() -> None:
    """Drop the table: links that were sent do not work any more.

    Raises:
        RuntimeError: the audit log has such events, which no earlier version knows and which must not change.
    """
    if op.get_bind().execute(_RECORDED).scalar_one():
        raise RuntimeError("The audit log has passwords reset by mail, which an earlier version cannot have.")
    op.drop_table("password_resets")
    _set_events(_EVENTS)
