"""Compiled statements: the one way to run SQL.

SQLAlchemy builds a statement and compiles it once. psycopg runs the text, which takes a third of the CPU time that
SQLAlchemy would take.
"""

from collections.abc import Mapping
from typing import Any, cast

import orjson
import psycopg
from psycopg.types.json import Json
from sqlalchemy import (
    URL,
    BindParameter,
    ClauseElement,
    Column,
    Connection,
    FromClause,
    Select,
    bindparam,
    literal_column,
)

from persistence.database.timeouts import DeadlineConnection

_Row = tuple[Any, ...]
# Parameters are $1, as PostgreSQL writes them, because psycopg would parse a statement with %(name)s on every run.
_DIALECT = URL.create("postgresql+psycopg").get_dialect()(paramstyle="numeric_dollar")  # type: ignore[call-arg]


def lateral_join(rows: Select[Any], name: str) -> FromClause:
    """Return a LATERAL subquery that reads `rows` by index for each row to its left.

    OFFSET 0 keeps the planner from flattening it: a generic plan does not know how short a page is, and would join
    whole tables.
    """
    return rows.offset(literal_column("0")).lateral(name)


def new_value(column: Column[Any]) -> BindParameter[Any]:
    """Return the parameter `new_<name>` for a column that an UPDATE sets. SQLAlchemy reserves `<name>`."""
    return bindparam(f"new_{column.name}", type_=column.type)


class Statement:
    """A compiled statement. Its methods run it with values for its parameters, by name."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self._text = str(compiled)
        self._names = cast("list[str]", compiled.positiontup or [])  # type: ignore[attr-defined]
        # Literals in the statement are parameters too.
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[_Row]:
        """Return all rows."""
        return self._run(connection, values).fetchall()

    def row(self, connection: Connection, values: Mapping[str, Any]) -> _Row | None:
        """Return the first row; None if there is none."""
        return self._run(connection, values).fetchone()

    def value(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Return the first column of the first row; None if there is no row."""
        row = self.row(connection, values)
        return row[0] if row else None

    def count(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Return the number of changed rows."""
        return self._run(connection, values).rowcount

    def _run(self, connection: Connection, values: Mapping[str, Any]) -> psycopg.RawCursor[Any]:
        return _cursor(connection).execute(self._text, self._values(values))

    def _values(self, values: Mapping[str, Any]) -> list[Any]:
        values = {**self._constants, **values}
        return [values[name] for name in self._names]


def _cursor(connection: Connection) -> psycopg.RawCursor[Any]:
    return cast("DeadlineConnection", connection.connection.dbapi_connection).statements


def as_json(value: Any) -> Json:
    """Return the value for a JSON column, serialized as in responses."""
    return Json(value, orjson.dumps)
