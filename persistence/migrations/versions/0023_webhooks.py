"""Webhooks of companies, their deliveries, and the events of the audit log about them.

Processes of an earlier version keep working. They publish events without deliveries, so webhooks are complete only
after the last of them has stopped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

_TIME = sa.DateTime(timezone=True)
_EARLIER_EVENTS = (
    "signed_up", "signed_in", "signed_out", "password_changed", "profile_changed", "deleted", "password_reset",
    "closed", "key_created", "key_revoked", "password_recovered",
)  # fmt: skip
_WEBHOOK_EVENTS = ("webhook_created", "webhook_changed", "webhook_secret_rotated", "webhook_deleted")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "webhooks",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("event_types", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("previous_secret", sa.Text),
        sa.Column("previous_until", _TIME),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("failing_since", _TIME),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("paused_until", _TIME),
        sa.Column("disabled_reason", sa.Text),
        sa.Column("disabled_at", _TIME),
        sa.Column("mail_due_at", _TIME),
        sa.Column("mail_attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("redeliver_after", sa.BigInteger),
        sa.Column("deleted_at", _TIME),
        sa.PrimaryKeyConstraint("company_id", "id", name="webhooks_pk"),
        sa.CheckConstraint("(previous_secret IS NULL) = (previous_until IS NULL)", name=op.f("webhooks_previous_ck")),
        sa.CheckConstraint("(failing_since IS NULL) = (failures = 0)", name=op.f("webhooks_failing_ck")),
        sa.CheckConstraint("disabled_reason IN ('gone', 'failing')", name=op.f("webhooks_known_reason_ck")),
        sa.CheckConstraint("(disabled_reason IS NULL) = (disabled_at IS NULL)", name=op.f("webhooks_disabled_ck")),
        sa.CheckConstraint("NOT (enabled AND disabled_reason IS NOT NULL)", name=op.f("webhooks_enabled_ck")),
        postgresql_with={"fillfactor": "50"},
    )
    op.execute("CREATE INDEX webhooks_mail_due ON webhooks (mail_due_at) WHERE mail_due_at IS NOT NULL")
    op.execute("CREATE INDEX webhooks_redeliver ON webhooks (company_id, id) WHERE redeliver_after IS NOT NULL")
    op.execute("CREATE INDEX webhooks_deleted ON webhooks (company_id, id) WHERE deleted_at IS NOT NULL")
    op.create_table(
        "deliveries",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("webhook_id", sa.Uuid, nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="pending"),
        sa.Column("due_at", _TIME, server_default=sa.func.now()),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("attempted_at", _TIME),
        sa.Column("status", sa.SmallInteger),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("company_id", "webhook_id", "event_id", name="deliveries_pk"),
        sa.CheckConstraint("state IN ('pending', 'succeeded', 'failed')", name=op.f("deliveries_known_state_ck")),
        sa.CheckConstraint("(state = 'pending') = (due_at IS NOT NULL)", name=op.f("deliveries_due_ck")),
    )
    op.execute("CREATE INDEX deliveries_due ON deliveries (company_id, webhook_id, due_at) WHERE due_at IS NOT NULL")
    op.add_column("account_events", sa.Column("webhook_id", sa.Uuid))
    _set_events((*_EARLIER_EVENTS, *_WEBHOOK_EVENTS))
    _add_check("account_events_webhook_ck", f"({_is_one_of(_WEBHOOK_EVENTS)}) = (webhook_id IS NOT NULL)")


def _set_events(events: tuple[str, ...]) -> None:
    name = "account_events_known_event_ck"
    op.drop_constraint(op.f(name), "account_events")
    _add_check(name, _is_one_of(events))


def _add_check(name: str, condition: str) -> None:
    op.create_check_constraint(op.f(name), "account_events", condition)


def _is_one_of(events: tuple[str, ...]) -> str:
    return f"event IN ({', '.join(map(repr, events))})"


def downgrade() -> None:
    """Drop the tables, and remove the events.

    Raises:
        RuntimeError: the audit log has such events, which no earlier version knows and which must not change.
    """
    if op.get_bind().execute(sa.text("SELECT count(*) FROM account_events WHERE webhook_id IS NOT NULL")).scalar_one():
        raise RuntimeError("The audit log has events of webhooks, which an earlier version cannot have.")
    op.drop_constraint(op.f("account_events_webhook_ck"), "account_events")
    _set_events(_EARLIER_EVENTS)
    op.drop_column("account_events", "webhook_id")
    for name in ("webhooks", "deliveries"):
        op.drop_table(name)
