"""Compiled statements: the one way to run SQL.

SQLAlchemy compiles a statement once; psycopg runs it with a third of the CPU time.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import orjson
import psycopg
from psycopg.types.json import Json
from sqlalchemy import (
    CTE,
    URL,
    BindParameter,
    ClauseElement,
    Column,
    Connection,
    FromClause,
    Select,
    bindparam,
    func,
    select,
    true,
)

from persistence.database.timeouts import DeadlineConnection

_Row = tuple[Any, ...]


def _dialect(name: str) -> Any:
    # $1, because psycopg would parse a statement with %(name)s on every run.
    dialect = URL.create("postgresql+psycopg").get_dialect()(paramstyle="numeric_dollar")  # type: ignore[call-arg]
    dialect.name = name
    return dialect


# Citus is PostgreSQL; the name only selects what lateral_join adds.
_POSTGRESQL, _CITUS = _dialect("postgresql"), _dialect("citus")

# The time in FROM: Citus allows no function of it in COALESCE, CASE and RETURNING of an UPDATE.
CLOCK = func.statement_timestamp().table_valued("now", name="clock").render_derived()


def lateral_join(rows: Select[Any], name: str) -> FromClause:
    """Return a LATERAL subquery that reads `rows` by index.

    OFFSET 0 keeps the planner from flattening it: a generic plan would join whole tables. Citus has no generic plans,
    and could not send such a subquery to the shards.
    """
    return rows.suffix_with("OFFSET 0", dialect=_POSTGRESQL.name).lateral(name)


def is_distributed(connection: Connection) -> bool:
    """Return whether the tables are on several servers, with Citus."""
    return _driver_connection(connection).is_distributed


def skip_scan(find_next: Callable[..., Select[Any]], *after: Any) -> CTE:
    """Return rows that are found one after another, with one look into an index for each.

    Args:
        find_next: selects the first row after a key. Its columns begin with the key of the row.
        after: the key before the first row.
    """
    found = select(find_next(*after).subquery("first")).cte("found", recursive=True)
    key = list(found.c)[: len(after)]
    following = lateral_join(find_next(*key).correlate(found), "following")
    return found.union_all(select(following).select_from(found.join(following, true())))


def new_value(column: Column[Any]) -> BindParameter[Any]:
    """Return the parameter `new_<name>` for an UPDATE; SQLAlchemy reserves `<name>`."""
    return bindparam(f"new_{column.name}", type_=column.type)


class Statement:
    """A compiled statement; its methods run it."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_POSTGRESQL)
        self._statement = statement
        self._text = str(compiled)
        self._names = cast("list[str]", compiled.positiontup or [])  # type: ignore[attr-defined]
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[_Row]:
        """Return all rows."""
        return self._run(connection, values).fetchall()

    def row(self, connection: Connection, values: Mapping[str, Any]) -> _Row | None:
        """Return the first row or None."""
        return self._run(connection, values).fetchone()

    def value(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Return the first column; None: no row."""
        row = self.row(connection, values)
        return row[0] if row else None

    def count(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run it and count changed rows."""
        return self._run(connection, values).rowcount

    def _run(self, connection: Connection, values: Mapping[str, Any]) -> psycopg.RawCursor[Any]:
        driver = _driver_connection(connection)
        text = self._distributed_text if driver.is_distributed else self._text
        return driver.statements.execute(text, self._values(values))

    @cached_property
    def _distributed_text(self) -> str:
        return str(self._statement.compile(dialect=_CITUS))

    def _values(self, values: Mapping[str, Any]) -> list[Any]:
        values = {**self._constants, **values}
        return [values[name] for name in self._names]


def _driver_connection(connection: Connection) -> DeadlineConnection:
    return cast("DeadlineConnection", connection.connection.dbapi_connection)


def claim_first(
    connection: Connection, find: Statement, claim: Statement, key: Sequence[str], values: Mapping[str, Any]
) -> _Row | None:
    """Claim the first of some rows that no other process has locked or changed; None: there is none.

    Two statements, because Citus locks rows only in a statement that names their shard.

    Args:
        connection: in a transaction, if `claim` only locks.
        find: selects the keys of rows without a lock.
        claim: locks or changes the row with a key, and returns it unless it is locked or does not qualify any more.
        key: the parameters of `claim` for the columns of `find`.
        values: the other parameters of both.
    """
    for found in find.rows(connection, values):
        row = claim.row(connection, {**values, **dict(zip(key, found, strict=True))})
        if row is not None:
            return row
    return None


def as_json(value: Any) -> Json:
    """Return the value for a JSON column."""
    return Json(value, orjson.dumps)
