"""The audit log of promos and accounts. Earlier events are not in it.

Processes of an earlier version keep working, but do not write to the audit log.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TABLES = ("promo_changes", "account_events")
_REFUSE = """
    CREATE FUNCTION refuse_trail_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% of % is refused: what it tells stays as it is', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege', TABLE = TG_TABLE_NAME;
    END $$
"""
# ON UPDATE CASCADE runs inside a trigger, where pg_trigger_depth() is 1. For statements of clients it is 0.
_APPEND_ONLY = """
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse_trail_change()
"""


def upgrade() -> None:
    """Create the append-only tables."""
    _create_promo_changes()
    _create_account_events()
    op.execute(_REFUSE)
    for table in _TABLES:
        op.execute(_APPEND_ONLY.format(table=table))


def _create_promo_changes() -> None:
    op.create_table(
        "promo_changes",
        sa.Column("promo_id", sa.Uuid, sa.ForeignKey("promos.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("company_id", sa.Uuid, sa.ForeignKey("companies.id"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("changes", sa.JSON),
        sa.CheckConstraint("number > 0", name=op.f("promo_changes_number_ck")),
        sa.CheckConstraint("event IN ('created', 'changed')", name=op.f("promo_changes_known_event_ck")),
        sa.CheckConstraint("(event = 'changed') = (changes IS NOT NULL)", name=op.f("promo_changes_changes_ck")),
    )


def _create_account_events() -> None:
    op.create_table(
        "account_events",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("company_id", sa.Uuid, sa.ForeignKey("companies.id", onupdate="CASCADE")),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id", onupdate="CASCADE")),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("members", sa.ARRAY(sa.Text)),
        sa.CheckConstraint("num_nonnulls(company_id, user_id) = 1", name=op.f("account_events_one_account_ck")),
        sa.CheckConstraint(
            "event IN ('signed_up', 'signed_in', 'signed_out', 'password_changed', 'profile_changed', 'deleted')",
            name=op.f("account_events_known_event_ck"),
        ),
        sa.CheckConstraint(
            "(event = 'profile_changed') = (members IS NOT NULL)", name=op.f("account_events_members_ck")
        ),
    )
    for owner in ("company_id", "user_id"):
        op.create_index(
            f"account_events_{owner}",
            "account_events",
            [owner, "id"],
            postgresql_where=sa.text(f"{owner} IS NOT NULL"),
        )


def downgrade() -> None:
    """Drop the tables, with the whole audit log."""
    for table in _TABLES:
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_trail_change")
