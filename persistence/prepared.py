"""Statements that are compiled once, when the program starts, and from then on handed to the driver as text.

SQLAlchemy builds them. Run by it too, each would cost three times as much of the processor as the driver takes for it,
most of it to find out again and again what this statement, these parameters and that row are; a request is little more
than its statements. Values and rows need no conversion: the driver knows the types of Python that they are of.
"""

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import (
    URL,
    ClauseElement,
    ColumnElement,
    Connection,
    FromClause,
    ScalarSelect,
    Select,
    literal_column,
    select,
)

from persistence.timeouts import DeadlineConnection

_Row = tuple[Any, ...]
# With the parameters of PostgreSQL: psycopg would parse those of Python each time in a statement of more than 4 KiB.
_DIALECT = URL.create("postgresql+psycopg").get_dialect()(paramstyle="numeric_dollar")  # type: ignore[call-arg]


def hidden(value: ColumnElement[Any]) -> ScalarSelect[Any]:
    """Return the value of a parameter, so that a plan is the same whether it is made for this value or for any.

    PostgreSQL keeps the plan of a prepared statement that is good for all values only if those for the values of each
    time promise to be no better. Else it makes a new one each time, which takes longer than all the statement does.
    """
    return select(value).scalar_subquery()


def row_by_row(rows: Select[Any], name: str) -> FromClause:
    """Return what is read for each row of a page, by its indexes, one row after the other.

    A plan that does not know how short pages are would join them with whole tables: OFFSET keeps it from joining.
    """
    return rows.offset(literal_column("0")).lateral(name)


class Prepared:
    """A statement; the names of its parameters are those of its `bindparam`s."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self._text = str(compiled)
        self._names = cast("list[str]", compiled.positiontup or [])  # type: ignore[attr-defined]
        # Values that stand in the statement itself are parameters of it for the driver.
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[_Row]:
        """Run it, and return all rows."""
        driver = cast("DeadlineConnection", connection.connection.dbapi_connection)
        values = {**self._constants, **values}
        return driver.statements.execute(self._text, [values[name] for name in self._names]).fetchall()

    def row(self, connection: Connection, values: Mapping[str, Any]) -> _Row | None:
        """Run it, and return its one row; None if it has none."""
        rows = self.rows(connection, values)
        return rows[0] if rows else None

    def value(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Run it, and return the one value of its one row; None if it has no row."""
        rows = self.rows(connection, values)
        return rows[0][0] if rows else None
