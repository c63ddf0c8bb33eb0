"""Version and settings of a server."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ARRAY, Connection, Text, bindparam, text

from persistence.database.statements import Statement

APPLICATION_NAME = "promo-api"
_TIME = Statement(text("SELECT clock_timestamp()"))
# In winter and in summer: London has the offset of UTC in winter only.
_OFFSETS = Statement(
    text(
        "SELECT extract(timezone FROM timestamptz '2025-01-01 00:00Z')::int,"
        " extract(timezone FROM timestamptz '2025-07-01 00:00Z')::int"
    )
)
_VERSION = Statement(text("SHOW server_version"))
_OTHER_SESSIONS = Statement(
    text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = :name AND pid <> pg_backend_pid()"
    )
)
_READ_ONLY = Statement(text("SHOW transaction_read_only"))
_SETTINGS = Statement(
    text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names) ORDER BY name").bindparams(
        bindparam("names", type_=ARRAY(Text))
    )
)
_FLUSHED = Statement(text("SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint"))
_SYSTEM_ID = Statement(text("SELECT system_identifier FROM pg_control_system()"))
_REPLAYED = Statement(
    text("SELECT CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END")
)
_LONG_READ = [Statement(text(f"SET {setting}")) for setting in ("TRANSACTION READ ONLY", "LOCAL statement_timeout = 0")]


def find_time(connection: Connection) -> datetime:
    """Return the server's time."""
    time: datetime = _TIME.value(connection, {})
    return time


def uses_utc(connection: Connection) -> bool:
    """Return whether the time zone of the session is UTC under any of its names, such as Etc/UTC and Zulu."""
    return _OFFSETS.row(connection, {}) == (0, 0)


def find_version(connection: Connection) -> str:
    """Return the version of PostgreSQL."""
    return str(_VERSION.value(connection, {}))


def count_other_sessions(connection: Connection) -> int:
    """Count the sessions of the service in this database, without the one of `connection`."""
    return int(_OTHER_SESSIONS.value(connection, {"name": APPLICATION_NAME}))


def takes_writes(connection: Connection) -> bool:
    """Return False on a standby or a read-only database."""
    return bool(_READ_ONLY.value(connection, {}) == "off")


def find_flushed_position(connection: Connection) -> int:
    """Return the end of the WAL that a primary has written to the disk, in bytes."""
    return int(_FLUSHED.value(connection, {}))


def find_system_id(connection: Connection) -> int:
    """Return the number that a primary and its standbys share."""
    return int(_SYSTEM_ID.value(connection, {}))


def find_replayed_position(connection: Connection) -> int | None:
    """Return the end of the WAL that a standby has replayed, in bytes; None: it is not a standby."""
    position: int | None = _REPLAYED.value(connection, {})
    return position


def find_settings(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """Return session settings; times in milliseconds."""
    return dict(_SETTINGS.rows(connection, {"names": list(names)}))


def prepare_long_read(connection: Connection) -> None:
    """Make the transaction read-only, without time limit."""
    for setting in _LONG_READ:
        setting.count(connection, {})
