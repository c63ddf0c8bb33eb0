"""Events of companies: an outbox, the triggers that write it, and the options of promos that it needs.

Processes of an earlier version keep working, and their changes are reported too, because triggers write the events.
They do not publish events, and do not report the ends of promos: the new processes do both. A promo that they extend
after its end is not reported again when it ends.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from persistence.migrations.locks import lock_tables

revision = "0022"
down_revision = "0021"

# A UUIDv7 (RFC 9562, method 3: 12 bits are the fraction of the millisecond).
_EVENT_ID = """
    CREATE FUNCTION event_id() RETURNS uuid LANGUAGE plpgsql AS $$
    DECLARE
        us CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    BEGIN
        RETURN (
            lpad(to_hex(us / 1000), 12, '0') || '7' || lpad(to_hex(us % 1000 * 4096 / 1000), 3, '0')
            || right(gen_random_uuid()::text, 18)
        )::uuid;
    END $$
"""
# The argument of the trigger is the type. One event, or one for each use.
_USES = """
    CREATE FUNCTION record_use_events() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        first_use CONSTANT integer := CASE TG_ARGV[0]
            WHEN 'promo.activated' THEN OLD.used_count + 1
            ELSE NEW.used_count
        END;
        percent CONSTANT smallint := CASE TG_ARGV[0] WHEN 'promo.low_stock' THEN NEW.low_stock_percent END;
        owner uuid;
    BEGIN
        SELECT company_id INTO owner FROM promos WHERE id = NEW.promo_id;
        FOR use_number IN first_use..NEW.used_count LOOP
            INSERT INTO events (company_id, type, promo_id, data)
            VALUES (owner, TG_ARGV[0], NEW.promo_id, jsonb_strip_nulls(jsonb_build_object(
                'used_count', use_number, 'use_limit', NEW.use_limit, 'low_stock_percent', percent
            )));
        END LOOP;
        RETURN NULL;
    END $$
"""
_CHANGES = """
    CREATE FUNCTION record_promo_events() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO events (company_id, type, promo_id, data)
        VALUES (NEW.company_id, 'promo.' || NEW.event, NEW.promo_id, CASE
            WHEN NEW.changes IS NULL THEN '{}'
            ELSE jsonb_build_object('members', ARRAY(SELECT json_object_keys(NEW.changes)))
        END);
        RETURN NULL;
    END $$
"""
_REDEMPTIONS = """
    CREATE FUNCTION record_redemption_events() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO events (company_id, type, promo_id, data)
        VALUES (NEW.company_id, 'redemption.' || NEW.state, NEW.promo_id, jsonb_strip_nulls(jsonb_build_object(
            'redemption_id', NEW.id, 'order_ref', NEW.order_ref
        )));
        RETURN NULL;
    END $$
"""
_JOBS = """
    CREATE FUNCTION record_job_events() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO events (company_id, type, promo_id, data)
        VALUES (NEW.company_id, 'codes.imported', NEW.promo_id, jsonb_strip_nulls(jsonb_build_object(
            'job_id', NEW.id, 'kind', NEW.kind, 'state', NEW.state, 'failure', NEW.failure, 'received', NEW.received,
            'accepted', NEW.accepted, 'duplicates', NEW.duplicates, 'rejected', NEW.rejected
        )));
        RETURN NULL;
    END $$
"""
_COMMENTS = """
    CREATE FUNCTION record_comment_events() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO events (company_id, type, promo_id, data)
        SELECT company_id, 'comment.created', id, jsonb_build_object('comment_id', NEW.id)
        FROM promos WHERE id = NEW.promo_id;
        RETURN NULL;
    END $$
"""
_FUNCTIONS = (_USES, _CHANGES, _REDEMPTIONS, _JOBS, _COMMENTS)
_OPTIONS = "used_count, use_limit, low_stock_percent"
# The condition for the row before and after: it was not low, and is low. So one crossing is reported once.
_IS_LOW = "(ROW.use_limit - ROW.used_count)::bigint * 100 <= ROW.use_limit::bigint * ROW.low_stock_percent"
_GETS_LOW = f"({_IS_LOW.replace('ROW', 'NEW')}) IS TRUE AND ({_IS_LOW.replace('ROW', 'OLD')}) IS NOT TRUE"
# Name, event, table, condition, function with its argument. Triggers of a table run in the order of their names.
_TRIGGERS = (
    (
        "promo_used", f"UPDATE OF {_OPTIONS}", "promo_counters",
        "NEW.activation_events AND NEW.used_count > OLD.used_count", "record_use_events('promo.activated')",
    ),
    (
        "promo_used_low", f"UPDATE OF {_OPTIONS}", "promo_counters", _GETS_LOW, "record_use_events('promo.low_stock')",
    ),
    (
        "promo_used_up", f"UPDATE OF {_OPTIONS}", "promo_counters",
        "NEW.used_count = NEW.use_limit AND OLD.used_count < OLD.use_limit", "record_use_events('promo.exhausted')",
    ),
    # Jobs record codes_count, and cause codes.imported.
    (
        "promo_changed", "INSERT", "promo_changes",
        "NEW.event = 'created' OR NEW.event = 'changed' AND NEW.changes -> 'codes_count' IS NULL",
        "record_promo_events()",
    ),
    ("redeemed", "INSERT", "redemptions", "NEW.state = 'confirmed'", "record_redemption_events()"),
    (
        "redemption_changed", "UPDATE OF state", "redemptions",
        "NEW.state <> OLD.state AND NEW.state IN ('confirmed', 'voided')", "record_redemption_events()",
    ),
    (
        "job_finished", "UPDATE OF finished_at", "jobs", "NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL",
        "record_job_events()",
    ),
    ("comment_created", "INSERT", "comments", "true", "record_comment_events()"),
)  # fmt: skip


def upgrade() -> None:
    """Create the tables, the columns and the triggers.

    `reported_until` and its index may exist already: on a large table, create them beforehand (see
    docs/deployment.md). What has ended before is not reported.
    """
    lock_tables(*sorted({table for _, _, table, *_ in _TRIGGERS} | {"promos"}))
    op.execute(_EVENT_ID)
    op.create_table(
        "events",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False, server_default=sa.func.event_id()),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("promo_id", sa.Uuid),
        sa.Column("data", JSONB, nullable=False, server_default=sa.literal_column("'{}'")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("number", sa.BigInteger),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("company_id", "id", name="events_pk"),
        sa.CheckConstraint("(number IS NULL) = (published_at IS NULL)", name=op.f("events_published_ck")),
    )
    is_published = "number IS NOT NULL"
    op.execute("CREATE INDEX events_unpublished ON events (company_id, id) WHERE number IS NULL")
    op.execute(f"CREATE UNIQUE INDEX events_number ON events (company_id, number) WHERE {is_published}")
    op.execute(f"CREATE INDEX events_type ON events (company_id, type, number) WHERE {is_published}")
    op.execute(f"CREATE INDEX events_published ON events (published_at, number) WHERE {is_published}")
    op.create_table(
        "event_feeds",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("last_number", sa.BigInteger, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("company_id", name="event_feeds_pk"),
        postgresql_with={"fillfactor": "50"},
    )
    op.add_column("promo_counters", sa.Column("low_stock_percent", sa.SmallInteger))
    op.add_column(
        "promo_counters", sa.Column("activation_events", sa.Boolean, nullable=False, server_default=sa.false())
    )
    # The default is that of the existing promos only.
    op.execute("ALTER TABLE promos ADD COLUMN IF NOT EXISTS reported_until date DEFAULT current_date - 1")
    op.execute("ALTER TABLE promos ALTER COLUMN reported_until DROP DEFAULT")
    op.execute(
        "CREATE INDEX IF NOT EXISTS promos_unreported_end ON promos (active_until, id)"
        " WHERE active_until IS NOT NULL AND (reported_until IS NULL OR reported_until < active_until)"
    )
    for function in _FUNCTIONS:
        op.execute(function)
    for name, event, table, condition, function in _TRIGGERS:
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW WHEN ({condition})"
            f" EXECUTE FUNCTION {function}"
        )


def downgrade() -> None:
    """Drop the events, and the options of promos."""
    for name, _event, table, *_ in _TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON {table}")
    for name in ("events", "event_feeds"):
        op.drop_table(name)
    for name in ("uses", "promo", "redemption", "job", "comment"):
        op.execute(f"DROP FUNCTION record_{name.removesuffix('s')}_events")
    op.execute("DROP FUNCTION event_id")
    op.drop_column("promos", "reported_until")
    for name in ("low_stock_percent", "activation_events"):
        op.drop_column("promo_counters", name)
