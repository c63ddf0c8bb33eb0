"""Pages of lists by limit and offset, cheap at any offset.

PostgreSQL counts its way to an offset, row by row. So a page is chosen by the columns of one index, before other
columns or tables are read. It is counted from the nearer end of the list: at most half of the list is ever passed over.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, bindparam, func, literal

from persistence.database.statements import Statement

MOST, BEFORE = (bindparam(name, type_=BigInteger) for name in ("most", "before"))


@dataclass(frozen=True)
class Window:
    """Where a page is, counted from one end of a list.

    Attributes:
        backward: count from the last row. Rows are then read in reverse order.
        limit: rows on the page.
        offset: rows between that end and the page.
        depth: rows from that end to the far side of the page.
    """

    backward: bool
    limit: ColumnElement[Any]
    offset: ColumnElement[Any]
    depth: ColumnElement[Any]


_FORWARD = Window(backward=False, limit=MOST, offset=BEFORE, depth=MOST + BEFORE)


def _backward(total: ColumnElement[Any]) -> Window:
    depth = func.greatest(total - BEFORE, literal(0, BigInteger))
    offset = func.greatest(depth - MOST, literal(0, BigInteger))
    return Window(backward=True, limit=depth - offset, offset=offset, depth=depth)


class Pages:
    """The statements for the pages of one list.

    Args:
        statement: returns the statement for a page, given its window. The page comes in the order of the list.
        total: the length of the list. It is read in the snapshot of the page, so rows that are inserted meanwhile do
            not move a page that is counted from the end.
    """

    def __init__(self, statement: Callable[[Window], Select[Any]], total: ColumnElement[Any]) -> None:
        self._forward = Statement(statement(_FORWARD))
        self._backward = Statement(statement(_backward(total)))

    def rows(
        self, connection: Connection, values: Mapping[str, Any], *, total: int, limit: int, offset: int
    ) -> list[tuple[Any, ...]]:
        """Return a page.

        Args:
            connection: where to run it.
            values: the parameters of the statement.
            total: the length of the list a moment ago. No statement is run for a page that is empty.
            limit: rows on the page at most.
            offset: rows before the page.
        """
        if limit <= 0 or offset >= total:
            return []
        nearer = self._forward if offset < total - offset else self._backward
        return nearer.rows(connection, {**values, "most": limit, "before": offset})
