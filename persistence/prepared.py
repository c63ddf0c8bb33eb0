"""Statements that are compiled once, when the program starts, and from then on handed to the driver as text.

SQLAlchemy builds them. Run by it too, each would cost three times as much of the processor as the driver takes for it,
most of it to find out again and again what this statement, these parameters and that row are; a request is little more
than its statements. Values and rows need no conversion: the driver knows the types of Python that they are of.
"""

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import URL, ClauseElement, Connection

from persistence.silence import LimitedConnection

_Row = tuple[Any, ...]
_DIALECT = URL.create("postgresql+psycopg").get_dialect()()


class Prepared:
    """A statement; the names of its parameters are those of its `bindparam`s."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self._text = str(compiled)
        # Values that stand in the statement itself are parameters of it for the driver.
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[_Row]:
        """Run it, and return all rows."""
        driver = cast("LimitedConnection", connection.connection.dbapi_connection)
        return driver.statements.execute(self._text, {**self._constants, **values}).fetchall()

    def row(self, connection: Connection, values: Mapping[str, Any]) -> _Row | None:
        """Run it, and return its one row; None if it has none."""
        rows = self.rows(connection, values)
        return rows[0] if rows else None

    def value(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Run it, and return the one value of its one row; None if it has no row."""
        rows = self.rows(connection, values)
        return rows[0][0] if rows else None
