"""Tables of e-mail addresses and of names of companies; no promo table refers to an account any more.

Processes of the version before keep working. Triggers write what only this version knows: the addresses and the names.
Those processes cannot end the deletion of an account, but the new ones do. They leave out comments of users that the
new ones delete. They write events into account_events, and a sweeper moves these to account_log.

A later release drops what only those processes need: account_events with its functions, the triggers of companies,
users and account_deletions, account_deletions.placeholder_id, and the unique constraints of email_key.
"""

import sqlalchemy as sa
from alembic import op

from persistence.migrations.locks import lock_tables

revision = "0024"
down_revision = "0023"

_KINDS = {"companies": "company", "users": "user"}
_REFERENCES = {
    "promos": ("company_id", "companies"),
    "promo_changes": ("company_id", "companies"),
    "activations": ("user_id", "users"),
    "likes": ("user_id", "users"),
    "comments": ("author_id", "users"),
    "user_uses": ("user_id", "users"),
}
# BEFORE, so that each process locks the address first. NULL skips the row, as ON CONFLICT DO NOTHING does. The second
# condition is for accounts whose address is not in the table yet.
_TAKE = """
    CREATE OR REPLACE FUNCTION take_KIND_address() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM addresses WHERE email_key = NEW.email_key AND kind = 'KIND' AND account_id = NEW.id;
        IF FOUND THEN
            RETURN NEW;
        END IF;
        PERFORM FROM TABLE WHERE email_key = NEW.email_key;
        IF FOUND THEN
            RETURN NULL;
        END IF;
        INSERT INTO addresses (email_key, kind, account_id) VALUES (NEW.email_key, 'KIND', NEW.id)
        ON CONFLICT DO NOTHING;
        RETURN CASE WHEN FOUND THEN NEW END;
    END $$
"""
_CHANGE = """
    CREATE OR REPLACE FUNCTION change_KIND_address() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM addresses WHERE email_key = OLD.email_key AND kind = 'KIND' AND account_id = OLD.id;
        IF NEW.email_key IS NOT NULL THEN
            INSERT INTO addresses (email_key, kind, account_id) VALUES (NEW.email_key, 'KIND', NEW.id);
        END IF;
        RETURN NULL;
    END $$
"""
_NAME = """
    CREATE OR REPLACE FUNCTION store_company_name() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO company_names AS stored (company_id, name) VALUES (NEW.id, NEW.name)
        ON CONFLICT (company_id) DO UPDATE SET name = excluded.name WHERE stored.name <> excluded.name;
        RETURN NULL;
    END $$
"""
# A process of the version before deletes the row too early, when the row of the user still exists.
_END = """
    CREATE FUNCTION keep_account_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM users WHERE id = OLD.user_id;
        RETURN CASE WHEN NOT FOUND THEN OLD END;
    END $$
"""
_REFUSAL = """
            RAISE EXCEPTION '% of % is refused: the audit log does not change', TG_OP, TG_TABLE_NAME
                USING ERRCODE = 'insufficient_privilege', TABLE = TG_TABLE_NAME;
"""
_REFUSE_LOG = """
    CREATE FUNCTION refuse_log_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM account_deletions WHERE user_id = OLD.account_id)
            OR EXISTS (SELECT FROM users WHERE id = OLD.account_id)
            OR EXISTS (SELECT FROM companies WHERE id = OLD.account_id)
        THEN
            REFUSE
        END IF;
        RETURN OLD;
    END $$
"""
_REFUSE_EVENT = """
    CREATE FUNCTION refuse_event_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM account_log WHERE account_id = coalesce(OLD.company_id, OLD.user_id)
            AND id = moved_event_id(OLD.happened_at, OLD.id);
        IF NOT FOUND THEN
            REFUSE
        END IF;
        RETURN OLD;
    END $$
"""
# A UUIDv7 as event_id() makes it, which ends with the earlier id.
_MOVED_ID = """
    CREATE FUNCTION moved_event_id(happened_at timestamptz, id bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT (
            lpad(to_hex(us / 1000), 12, '0') || '7' || lpad(to_hex(us % 1000 * 4096 / 1000), 3, '0')
            || '8' || lpad(to_hex(id), 15, '0')
        )::uuid
        FROM CAST(extract(epoch FROM happened_at) * 1000000 AS bigint) AS us
    $$
"""
# With the rights of the owner: the service must not set the time of an event, or delete one. The events of one user are
# waited for, because its deletion must not miss any.
_MOVE_EVENTS = """
    CREATE FUNCTION move_account_events(most integer, of_user uuid DEFAULT NULL) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE
        ids bigint[];
    BEGIN
        IF of_user IS NULL THEN
            ids := ARRAY(SELECT id FROM account_events ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED);
        ELSE
            ids := ARRAY(SELECT id FROM account_events WHERE user_id = of_user ORDER BY id LIMIT most FOR UPDATE);
        END IF;
        INSERT INTO account_log (account_id, id, happened_at, event, members, key_id, webhook_id)
        SELECT coalesce(company_id, user_id), moved_event_id(happened_at, id), happened_at, event, members, key_id,
            webhook_id
        FROM account_events WHERE id = ANY(ids)
        ON CONFLICT DO NOTHING;
        DELETE FROM account_events WHERE id = ANY(ids);
        RETURN cardinality(ids);
    END $$
"""
_HAND_OVER = """
    CREATE FUNCTION hand_over_account_log(closed_id uuid, most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE
        new_id uuid;
        last_id uuid;
        moved integer;
    BEGIN
        SELECT log_id INTO new_id FROM account_deletions WHERE user_id = closed_id;
        SELECT id INTO last_id FROM (
            SELECT id FROM account_log WHERE account_id = closed_id ORDER BY id LIMIT most
        ) AS portion ORDER BY id DESC LIMIT 1;
        IF new_id IS NULL OR last_id IS NULL THEN
            RETURN 0;
        END IF;
        WITH old AS (
            DELETE FROM account_log WHERE account_id = closed_id AND id <= last_id
            RETURNING id, happened_at, event, members, key_id, webhook_id
        )
        INSERT INTO account_log (account_id, id, happened_at, event, members, key_id, webhook_id)
        SELECT new_id, * FROM old;
        GET DIAGNOSTICS moved = ROW_COUNT;
        RETURN moved;
    END $$
"""
_APPEND_ONLY = """
    CREATE TRIGGER append_only BEFORE {events} ON {table}
    FOR EACH STATEMENT {condition} EXECUTE FUNCTION refuse_trail_change()
"""
# ON UPDATE CASCADE runs inside a trigger.
_BY_CLIENTS = "WHEN (pg_trigger_depth() = 0)"
_HAS_ADDRESS = "OLD.email_key IS NOT NULL OR NEW.email_key IS NOT NULL"


def upgrade() -> None:
    """Create the tables and triggers, and drop the foreign keys.

    `addresses` and `company_names` may exist already: on large tables, create and fill them beforehand (see
    docs/deployment.md).
    """
    # Also the tables that migration 0025 changes, because both run in one transaction.
    lock_tables(
        *_KINDS,
        *_REFERENCES,
        "account_events",
        "account_deletions",
        "feed_tally_changes",
        "promo_counters",
        "redemptions",
    )
    for table, (column, _) in _REFERENCES.items():
        op.drop_constraint(op.f(f"{table}_{column}_fk"), table)
    _create_addresses()
    _create_names()
    _create_log()
    now = sa.func.now()
    for added in (
        sa.Column("log_id", sa.Uuid, nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False, server_default=now),
    ):
        op.add_column("account_deletions", added)
    op.execute("ALTER TABLE account_deletions ALTER COLUMN placeholder_id SET DEFAULT gen_random_uuid()")
    op.execute(_END)
    op.execute(
        "CREATE TRIGGER keep_account_deletion BEFORE DELETE ON account_deletions"
        " FOR EACH ROW EXECUTE FUNCTION keep_account_deletion()"
    )


def _create_addresses() -> None:
    op.create_table(
        "addresses",
        sa.Column("email_key", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("email_key", "kind", name="addresses_pk"),
        sa.CheckConstraint("kind IN ('company', 'user')", name=op.f("addresses_known_kind_ck")),
        if_not_exists=True,
    )
    for table, kind in _KINDS.items():
        for function in (_TAKE, _CHANGE):
            op.execute(function.replace("KIND", kind).replace("TABLE", table))
        op.execute(
            f"CREATE OR REPLACE TRIGGER take_address BEFORE INSERT ON {table} FOR EACH ROW"
            f" WHEN (NEW.email_key IS NOT NULL) EXECUTE FUNCTION take_{kind}_address()"
        )
        op.execute(
            f"CREATE OR REPLACE TRIGGER change_address AFTER UPDATE OF id, email_key ON {table} FOR EACH ROW"
            f" WHEN ({_HAS_ADDRESS}) EXECUTE FUNCTION change_{kind}_address()"
        )
        op.execute(
            "INSERT INTO addresses (email_key, kind, account_id)"  # noqa: S608 constants
            f" SELECT email_key, '{kind}', id FROM {table} WHERE email_key IS NOT NULL ON CONFLICT DO NOTHING"
        )


def _create_names() -> None:
    op.create_table(
        "company_names",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("company_id", name="company_names_pk"),
        if_not_exists=True,
    )
    op.execute(_NAME)
    op.execute(
        "CREATE OR REPLACE TRIGGER store_name AFTER INSERT OR UPDATE OF id, name ON companies"
        " FOR EACH ROW EXECUTE FUNCTION store_company_name()"
    )
    op.execute("INSERT INTO company_names (company_id, name) SELECT id, name FROM companies ON CONFLICT DO NOTHING")


def _create_log() -> None:
    op.create_table(
        "account_log",
        sa.Column("account_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False, server_default=sa.func.event_id()),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("members", sa.ARRAY(sa.Text)),
        sa.Column("key_id", sa.Uuid),
        sa.Column("webhook_id", sa.Uuid),
        sa.PrimaryKeyConstraint("account_id", "id", name="account_log_pk"),
        *(sa.CheckConstraint(condition, name=op.f(f"account_log_{name}_ck")) for name, condition in _CHECKS.items()),
    )
    op.drop_constraint(op.f("account_events_user_id_fk"), "account_events")
    for function in (_MOVED_ID, _REFUSE_LOG, _REFUSE_EVENT, _MOVE_EVENTS, _HAND_OVER):
        op.execute(function.replace("REFUSE", _REFUSAL.strip()))
    op.execute("DROP TRIGGER append_only ON account_events")
    for table, function, condition in (
        ("account_log", "refuse_log_deletion", ""),
        ("account_events", "refuse_event_deletion", _BY_CLIENTS),
    ):
        op.execute(_APPEND_ONLY.format(events="UPDATE OR TRUNCATE", table=table, condition=condition))
        op.execute(f"CREATE TRIGGER {function} BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()")


_KEY_EVENTS = "event IN ('key_created', 'key_revoked')"
_WEBHOOK_EVENTS = "event IN ('webhook_created', 'webhook_changed', 'webhook_secret_rotated', 'webhook_deleted')"
_CHECKS = {
    "known_event": (
        "event IN ('signed_up', 'signed_in', 'signed_out', 'password_changed', 'profile_changed', 'deleted',"
        " 'password_reset', 'closed', 'key_created', 'key_revoked', 'password_recovered', 'webhook_created',"
        " 'webhook_changed', 'webhook_secret_rotated', 'webhook_deleted')"
    ),
    "members": "(event = 'profile_changed') = (members IS NOT NULL)",
    "key": f"({_KEY_EVENTS}) = (key_id IS NOT NULL)",
    "webhook": f"({_WEBHOOK_EVENTS}) = (webhook_id IS NOT NULL)",
}
# The earlier version needs a row for each id.
_CLOSED_ROWS = """
    INSERT INTO users (id, token_version, created_at)
    SELECT id, 0, NULL FROM (
        SELECT user_id AS id FROM activations UNION SELECT user_id FROM likes UNION SELECT author_id FROM comments
        UNION SELECT user_id FROM user_uses UNION SELECT user_id FROM account_deletions
        UNION SELECT placeholder_id FROM account_deletions UNION SELECT account_id FROM account_log
        UNION SELECT user_id FROM account_events WHERE user_id IS NOT NULL
    ) AS owners
    WHERE NOT EXISTS (SELECT FROM users WHERE users.id = owners.id)
        AND NOT EXISTS (SELECT FROM companies WHERE companies.id = owners.id)
"""
_MOVE_BACK = """
    INSERT INTO account_events (company_id, user_id, happened_at, event, members, key_id, webhook_id)
    SELECT companies.id, CASE WHEN companies.id IS NULL THEN account_id END, happened_at, event, members, key_id,
        webhook_id
    FROM account_log LEFT JOIN companies ON companies.id = account_id ORDER BY account_log.id
"""
_DROPPED = {
    "companies": ("take_address", "change_address", "store_name"),
    "users": ("take_address", "change_address"),
    "account_deletions": ("keep_account_deletion",),
    "account_events": ("append_only", "refuse_event_deletion"),
}
_FUNCTIONS = (
    *(f"{verb}_{kind}_address" for verb in ("take", "change") for kind in _KINDS.values()),
    "store_company_name", "keep_account_deletion", "refuse_log_deletion", "refuse_event_deletion",
    "move_account_events", "hand_over_account_log", "moved_event_id",
)  # fmt: skip


def downgrade() -> None:
    """Drop the tables and triggers, move the events back, and give each closed account a row again."""
    lock_tables(*_KINDS, *_REFERENCES, "account_events", "account_deletions", "account_log")
    op.execute(_CLOSED_ROWS)
    op.execute(_MOVE_BACK)
    for table, triggers in _DROPPED.items():
        for name in triggers:
            op.execute(f"DROP TRIGGER {name} ON {table}")
    for table in ("addresses", "company_names", "account_log"):
        op.drop_table(table)
    for function in _FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    for column in ("log_id", "due_at"):
        op.drop_column("account_deletions", column)
    op.execute("ALTER TABLE account_deletions ALTER COLUMN placeholder_id DROP DEFAULT")
    events = "UPDATE OR DELETE OR TRUNCATE"
    op.execute(_APPEND_ONLY.format(events=events, table="account_events", condition=_BY_CLIENTS))
    for table, (column, target) in _REFERENCES.items():
        op.create_foreign_key(op.f(f"{table}_{column}_fk"), table, target, [column], ["id"])
    op.create_foreign_key(
        op.f("account_events_user_id_fk"), "account_events", "users", ["user_id"], ["id"], onupdate="CASCADE"
    )
