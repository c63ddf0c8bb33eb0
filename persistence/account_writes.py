"""Positions of writes in the WAL of the primary, by account. All positions are in bytes from its beginning.

A position is stored after the commit of the write, and is at or behind the end of that commit.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import BigInteger, Connection, Uuid, bindparam, cast, delete, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert

from persistence.database.statements import Statement
from persistence.schema.replica_tables import account_writes

# The row of no account. It is missing after PostgreSQL has emptied the table.
_NO_ACCOUNT = UUID(int=0)
_COLUMNS = account_writes.c
_END = cast(func.pg_wal_lsn_diff(func.pg_current_wal_insert_lsn(), literal_column("'0/0'")), BigInteger)
_ROW = insert(account_writes).values(account_id=bindparam("account", type_=Uuid), lsn=_END)
_INSERT = Statement(
    # Computed again once the row is locked, so that the position of a concurrent request never replaces a later one.
    _ROW.on_conflict_do_update(
        index_elements=[_COLUMNS.account_id], set_={"lsn": _END, "written_at": func.clock_timestamp()}
    ).returning(_COLUMNS.lsn)
)
# The backup of another server may bring positions beyond the end of the WAL.
_FIND = Statement(
    text(
        "SELECT max(wal.lsn), coalesce(max(stored.lsn) FILTER (WHERE stored.account_id = :account), 0),"
        " max(stored.lsn) FILTER (WHERE stored.account_id = :no_account)"
        " FROM (SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS lsn OFFSET 0) wal"
        " LEFT JOIN account_writes stored ON stored.account_id IN (:account, :no_account) AND stored.lsn <= wal.lsn"
    ).bindparams(bindparam("account", type_=Uuid), bindparam("no_account", _NO_ACCOUNT, type_=Uuid))
)
_LOCKED = (
    select(_COLUMNS.account_id)
    .where(
        _COLUMNS.written_at < func.clock_timestamp() - text("interval '2 minutes'"), _COLUMNS.account_id != _NO_ACCOUNT
    )
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_DELETE = Statement(delete(account_writes).where(_COLUMNS.account_id.in_(_LOCKED)))


@dataclass(frozen=True)
class Positions:
    """Positions of the primary.

    Attributes:
        current: the end of the WAL.
        of_account: after the last write of the account; 0: none is stored.
        complete_from: accounts may have written before, without a stored position.
    """

    current: int
    of_account: int
    complete_from: int


def find_positions(connection: Connection, account_id: UUID) -> Positions:
    """Return the positions for a read of an account."""
    current, of_account, complete_from = _FIND.row(connection, {"account": account_id})  # type: ignore[misc]
    if complete_from is None:
        complete_from = insert_write(connection, _NO_ACCOUNT)
    return Positions(current, of_account, complete_from)


def insert_write(connection: Connection, account_id: UUID) -> int:
    """Store the current position for an account that has written, and return it."""
    return int(_INSERT.value(connection, {"account": account_id}))


def delete_old_writes(connection: Connection, *, limit: int) -> int:
    """Delete positions older than 2 minutes, which each replica in use has passed. Return how many."""
    return _DELETE.count(connection, {"limit": limit})
