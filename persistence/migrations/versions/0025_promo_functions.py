"""Functions that write the tables of a promo, an outbox for its events, and triggers for each row.

The shape that Citus needs: a function writes the tables of one promo, and so does a trigger on them. Processes of an
earlier version keep working: triggers count what their statements write, also statements that began before the
migration, and what they wrote to `events` is still published. They do not publish what the triggers write to
`promo_events`: the new processes do.

Only for processes of an earlier version, and to be dropped by a later release: the triggers complete_activation,
complete_like, complete_comment and mark_feed_entries_exhausted. The last three read or write other tables than those of
the promo.
"""

from importlib import import_module
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from persistence import migrations
from persistence.migrations.locks import lock_tables

revision = "0025"
down_revision = "0024"

_FUNCTIONS = Path(migrations.__file__).with_name("promo_functions.sql")
_NEW_FUNCTIONS = (
    "create_promo(uuid, jsonb, text[], integer, date)",
    "change_promo_count(uuid, text, integer)",
    "insert_feed_entries(uuid, date)",
    "delete_feed_entries(uuid)",
    "like_promo(uuid, uuid, text)",
    "unlike_promo(uuid, uuid)",
    "add_comment(uuid, uuid, uuid, text, text)",
    "edit_comment(uuid, uuid, uuid, text, text)",
    "delete_comment(uuid, uuid, uuid, text)",
    "report_comment(uuid, uuid, uuid, text)",
    "redeem_codes(uuid, integer, uuid[], uuid, text[], integer[])",
    "report_end(uuid, date)",
    "count_user_uses(uuid[])",
    "complete_activation()",
)
_LOCKED = ("activations", "comments", "feed_tally_changes", "likes", "promo_counters", "redemptions")
_ROW_TRIGGER = (
    "CREATE TRIGGER count_{0} AFTER INSERT ON {0} FOR EACH ROW WHEN (NEW.country_key IS NOT NULL)"
    " EXECUTE FUNCTION count_{0}()"
)
_COMPLETE_ACTIVATION = (
    "CREATE TRIGGER complete_activation BEFORE INSERT ON activations FOR EACH ROW WHEN (NEW.activated_at IS NULL)"
    " EXECUTE FUNCTION complete_activation()"
)


def upgrade() -> None:
    """Create the outbox, and replace functions and triggers.

    The index `redemptions_id` may exist already: on a large table, create it beforehand (see docs/deployment.md).
    """
    lock_tables(*_LOCKED)
    _create_outbox()
    op.execute("DROP TRIGGER count_activations ON activations")
    op.execute("DROP FUNCTION count_activations")
    _execute(_FUNCTIONS.read_text(encoding="utf-8"))
    for table in ("likes", "comments"):
        op.execute(f"DROP TRIGGER count_{table} ON {table}")
        op.execute(_ROW_TRIGGER.format(table))
    # Without a default: a claim that leaves the time out does not count itself, and the trigger completes it.
    op.execute("ALTER TABLE activations ALTER COLUMN activated_at DROP DEFAULT")
    op.execute(_COMPLETE_ACTIVATION)
    op.execute("ALTER TABLE feed_tally_changes ALTER COLUMN id DROP IDENTITY")
    op.execute("ALTER TABLE feed_tally_changes ALTER COLUMN id TYPE uuid USING gen_random_uuid()")
    op.execute("ALTER TABLE feed_tally_changes ALTER COLUMN id SET DEFAULT gen_random_uuid()")
    op.execute("CREATE INDEX IF NOT EXISTS redemptions_id ON redemptions (company_id, id)")
    op.execute("DROP INDEX redemptions_company")


def _create_outbox() -> None:
    op.create_table(
        "promo_events",
        sa.Column("promo_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False, server_default=sa.func.event_id()),
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("data", JSONB, nullable=False, server_default=sa.literal_column("'{}'")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.PrimaryKeyConstraint("promo_id", "id", name="promo_events_pk"),
    )
    op.create_index("promo_events_company", "promo_events", ["company_id", "id"])


def _execute(statements: str) -> None:
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def downgrade() -> None:
    """Move the events of the outbox to `events`, and restore the functions and triggers of the earlier version."""
    lock_tables(*_LOCKED, "promo_changes", "promo_events")
    op.execute("CREATE UNIQUE INDEX redemptions_company ON redemptions (company_id, id)")
    op.execute("DROP INDEX redemptions_id")
    op.execute("ALTER TABLE feed_tally_changes DROP COLUMN id")
    op.execute(
        "ALTER TABLE feed_tally_changes ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY"
        " CONSTRAINT feed_tally_changes_pk PRIMARY KEY"
    )
    op.execute("DROP TRIGGER complete_activation ON activations")
    op.execute("ALTER TABLE activations ALTER COLUMN activated_at SET DEFAULT clock_timestamp()")
    _restore_functions()
    op.execute(
        "INSERT INTO events (company_id, id, type, promo_id, data, created_at)"
        " SELECT company_id, id, type, promo_id, data, created_at FROM promo_events"
    )
    op.drop_table("promo_events")


def _restore_functions() -> None:
    for function in _NEW_FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    standing, campaigns, activity, events = (
        import_module(f"persistence.migrations.versions.{name}")
        for name in ("0010_feed_standing", "0014_campaigns", "0021_activity", "0022_events")
    )
    counts = activity._FUNCTIONS  # noqa: SLF001
    restored = [
        standing._FUNCTION,  # noqa: SLF001
        campaigns._CLAIM,  # noqa: SLF001
        *(getattr(events, name) for name in ("_USES", "_CHANGES", "_REDEMPTIONS", "_COMMENTS")),
        *(counts[f"count_{table}()"] for table in ("activations", "likes", "comments")),
    ]
    for function in restored:
        _execute(function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    for table in ("likes", "comments"):
        op.execute(f"DROP TRIGGER count_{table} ON {table}")
    for table in ("activations", "likes", "comments"):
        name = f"count_{table}"
        op.execute(f"CREATE TRIGGER {name} {activity._TRIGGERS[table][name]}")  # noqa: SLF001
