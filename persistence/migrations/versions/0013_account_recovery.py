"""Operators reset passwords and close accounts: two events, and companies without e-mail address and password.

Processes of an earlier version keep working. They may still create and change promos of a company that is closed
meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_EVENTS = ("signed_up", "signed_in", "signed_out", "password_changed", "profile_changed", "deleted")
_NEW_EVENTS = ("password_reset", "closed")
_REMOVED = ("email", "email_key", "password_hash")
_CLOSED = sa.text("SELECT count(*) FROM companies WHERE password_hash IS NULL")
_RECORDED = sa.text("SELECT count(*) FROM account_events WHERE event IN ('password_reset', 'closed')")


def upgrade() -> None:
    """Permit the events, and companies without these columns."""
    _set_events((*_EVENTS, *_NEW_EVENTS))
    for name in _REMOVED:
        op.alter_column("companies", name, existing_type=sa.Text(), nullable=True)
    condition = "num_nulls(email, email_key) IN (0, 2) AND (email IS NOT NULL OR password_hash IS NULL)"
    op.create_check_constraint(op.f("companies_closed_ck"), "companies", condition)


def _set_events(events: tuple[str, ...]) -> None:
    name = op.f("account_events_known_event_ck")
    op.drop_constraint(name, "account_events")
    op.create_check_constraint(name, "account_events", f"event IN ({', '.join(map(repr, events))})")


def downgrade() -> None:
    """Remove the constraint.

    Raises:
        RuntimeError: the audit log has such events, which no earlier version knows and which must not change.
    """
    connection = op.get_bind()
    if connection.execute(_CLOSED).scalar_one() or connection.execute(_RECORDED).scalar_one():
        raise RuntimeError(
            "The audit log has password resets or closed accounts, which an earlier version cannot have."
        )
    op.drop_constraint(op.f("companies_closed_ck"), "companies")
    for name in _REMOVED:
        op.alter_column("companies", name, existing_type=sa.Text(), nullable=False)
    _set_events(_EVENTS)
