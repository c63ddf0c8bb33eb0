"""The distribution of the tables over several servers, with Citus.

Each table has a key, and rows with the same key are on the same server. The tables of a promo are together, and so are
those of an account. The feed is on one server. Each step can be repeated: what is done already is skipped.
"""

from collections.abc import Collection, Iterator

from sqlalchemy import Connection, text

from persistence.database.cluster import find_colocations, find_nodes, has_citus, is_coordinator, set_on_servers
from persistence.database.server import count_other_sessions
from persistence.database.statements import Statement

# By table: the column of the key. The first table of a group decides where the rows of the others are.
_PROMO_TABLES = {
    "promos": "id",
    **dict.fromkeys(
        (
            "promo_counters", "promo_codes", "activations", "country_uses", "likes", "comments", "comment_reports",
            "promo_changes", "promo_activity", "promo_events", "redemptions", "redemption_counters",
            "country_redemptions", "redemption_activity",
        ),
        "promo_id",
    ),
}  # fmt: skip
_ACCOUNT_TABLES = {
    "users": "id",
    "companies": "id",
    **dict.fromkeys(("account_log", "account_writes", "kept_answers", "password_resets"), "account_id"),
    "account_deletions": "user_id",
    **dict.fromkeys(
        (
            "api_keys", "code_lookup", "company_promo_counts", "deliveries", "event_feeds", "events", "job_errors",
            "job_pieces", "jobs", "redemption_lookup", "webhooks",
        ),
        "company_id",
    ),
}  # fmt: skip
_FEED_TABLES = dict.fromkeys(("feed_entries", "feed_tallies", "feed_tally_changes"))
_GROUPS: tuple[dict[str, str] | dict[str, None], ...] = (
    _PROMO_TABLES,
    _ACCOUNT_TABLES,
    {"addresses": "email_key"},
    {"api_key_digests": "digest"},
    _FEED_TABLES,
)
_ON_ALL_SERVERS = ("company_names", "alembic_version", "activity_backfills")
TABLES = (*_ON_ALL_SERVERS, *(name for group in _GROUPS for name in group))
# Called with the promo, so that the call goes to its server.
_PROMO_FUNCTIONS = {
    "claim_uses": "claimed_promo",
    "create_promo": "new_id",
    "like_promo": "liked_promo",
    "unlike_promo": "liked_promo",
    "add_comment": "commented_promo",
    "edit_comment": "commented_promo",
    "delete_comment": "commented_promo",
    "report_comment": "commented_promo",
    "redeem_codes": "redeemed_promo",
    "change_redemption": "changed_promo",
}
# Only processes of an earlier version need them, and they reach over groups.
_OBSOLETE_TRIGGERS = {
    "companies": ("take_address", "change_address", "store_name"),
    "users": ("take_address", "change_address"),
    "likes": ("complete_like",),
    "comments": ("complete_comment",),
    "activations": ("complete_activation",),
    "promo_counters": ("mark_feed_entries_exhausted",),
    "account_deletions": ("keep_account_deletion",),
}
_OBSOLETE_CONSTRAINTS = {"companies": "companies_email_key_uq", "users": "users_email_key_uq"}
# On several servers the activations of a user are counted when they are read: see persistence.user_uses.
_COUNT_NO_USES = "CREATE OR REPLACE FUNCTION count_user_uses(user_ids uuid[]) RETURNS void LANGUAGE sql AS ''"
# By table. On one server it is empty.
_LOOKUPS = {
    "code_lookup": """
        INSERT INTO code_lookup (company_id, code_hash, promo_id)
        SELECT promos.company_id, code_hash(promo_codes.value), promos.id
        FROM promo_codes JOIN promos ON promos.id = promo_codes.promo_id
        UNION SELECT company_id, code_hash(promo_common), id FROM promos WHERE promo_common IS NOT NULL
        ON CONFLICT DO NOTHING
    """,
    "redemption_lookup": """
        INSERT INTO redemption_lookup (company_id, id, promo_id)
        SELECT company_id, id, promo_id FROM redemptions
        ON CONFLICT DO NOTHING
    """,
}
_LEFT = {
    "account_events": "SELECT count(*) FROM (SELECT FROM account_events LIMIT 1) AS found",
    "activity_backfills": "SELECT count(*) FROM activity_backfills",
}
_FUNCTIONS = Statement(
    text(
        "SELECT pg_proc.oid::regprocedure::text, proname FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND prokind = 'f' AND prorettype <> 'trigger'::regtype"
        " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e') ORDER BY 1"
    )
)


def list_undistributed_tables(connection: Connection) -> list[str]:
    """Return the tables that are not distributed yet."""
    done = find_colocations(connection)
    return [name for name in TABLES if name not in done]


def find_obstacle(connection: Connection) -> str | None:
    """Return why the tables cannot be distributed, in sentences; None: nothing prevents it."""
    if not has_citus(connection):
        return "The database has no extension citus. Run CREATE EXTENSION citus on each server first."
    if not is_coordinator(connection):
        return "This server is not the coordinator. Connect to the coordinator."
    if not find_nodes(connection):
        return "No server was added. Run citus_set_coordinator_host and citus_add_node first."
    missing = list_undistributed_tables(connection)
    sessions = missing and count_other_sessions(connection)
    if sessions:
        return f"The service has {sessions} open connections to the database. Stop all its processes first."
    for table, count in _LEFT.items():
        if table in missing and Statement(text(count)).value(connection, {}):
            return f"The table {table} is not empty. Let the service run until its jobs have emptied it."
    return None


def find_group_problems(connection: Connection) -> list[str]:
    """Return which tables are not where the other tables of their group are, in sentences."""
    colocations = find_colocations(connection)
    return [
        f"The table {name} is not distributed together with {next(iter(group))}. Rows of one key are on two servers."
        for group in _GROUPS
        for name in group
        if name in colocations and colocations[name] != colocations.get(next(iter(group)))
    ]


def update_distribution(connection: Connection, lock_timeout_s: float) -> Iterator[str]:
    """Distribute the tables and functions, and yield what each step did.

    Args:
        connection: in autocommit mode, without a time limit for responses.
        lock_timeout_s: how long a statement waits for a lock on each server.
    """
    for setting in ("statement_timeout = 0", "lock_timeout = 0", "citus.enable_unsafe_triggers = on"):
        _run(connection, f"SET {setting}")
    missing = list_undistributed_tables(connection)
    if missing:
        yield from _drop_obsolete(connection)
    for table, statement in _LOOKUPS.items():
        if table in missing:
            _run(connection, statement)
            yield f"The table {table} is filled."
    yield from _distribute_tables(connection, missing)
    for signature, name in _FUNCTIONS.rows(connection, {}):
        argument = _PROMO_FUNCTIONS.get(name)
        key = f", '{argument}', colocate_with => 'promos'" if argument else ""
        _run(connection, f"SELECT create_distributed_function('{signature}'{key})")
    yield "The functions are on all servers."
    # A server does not get the lock_timeout of the session of another one.
    set_on_servers(connection, "lock_timeout", f"{lock_timeout_s:g}s")
    yield f"A statement waits for a lock for at most {lock_timeout_s:g} s on each server."


def _distribute_tables(connection: Connection, missing: Collection[str]) -> Iterator[str]:
    for name in _ON_ALL_SERVERS:
        if name in missing:
            _run(connection, f"SELECT create_reference_table('{name}')")
            yield f"The table {name} is on all servers."
    for group in _GROUPS:
        first = next(iter(group))
        for name, column in group.items():
            if name in missing:
                key = "NULL" if column is None else f"'{column}'"
                others = "none" if name == first else first
                _run(connection, f"SELECT create_distributed_table('{name}', {key}, colocate_with => '{others}')")
                yield (
                    f"The table {name} is distributed by {column}." if column else f"The table {name} is on one server."
                )


def _drop_obsolete(connection: Connection) -> Iterator[str]:
    for table, triggers in _OBSOLETE_TRIGGERS.items():
        for trigger in triggers:
            _run(connection, f"DROP TRIGGER IF EXISTS {trigger} ON {table}")
    for table, constraint in _OBSOLETE_CONSTRAINTS.items():
        _run(connection, f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}")
    _run(connection, "DROP TABLE IF EXISTS account_events")
    _run(connection, _COUNT_NO_USES)
    yield "What only earlier versions need is dropped."


def _run(connection: Connection, statement: str) -> None:
    Statement(text(statement.replace(":", r"\:"))).count(connection, {})
