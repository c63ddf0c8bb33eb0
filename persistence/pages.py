"""Pages by limit and offset that are cheap at any offset.

PostgreSQL reads and skips each row before an offset. So a statement first selects the page from one index, and joins
other columns and tables afterwards. It counts from the nearer end of the list: in a list of 1,000, the page at offset
990 skips nothing and reads 10 rows backward.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, bindparam, func, literal

from persistence.database.statements import Statement

LIMIT, OFFSET = (bindparam(name, type_=BigInteger) for name in ("limit", "offset"))


@dataclass(frozen=True)
class Window:
    """The position of a page, counted from one end of a list.

    Attributes:
        backward: count from the last row, and read in reverse order.
        limit: rows on the page.
        offset: rows between that end and the page.
        depth: offset + limit, the rows to read.
    """

    backward: bool
    limit: ColumnElement[Any]
    offset: ColumnElement[Any]
    depth: ColumnElement[Any]


_FORWARD = Window(backward=False, limit=LIMIT, offset=OFFSET, depth=LIMIT + OFFSET)


def _backward(total: ColumnElement[Any]) -> Window:
    depth = func.greatest(total - OFFSET, literal(0, BigInteger))
    offset = func.greatest(depth - LIMIT, literal(0, BigInteger))
    return Window(backward=True, limit=depth - offset, offset=offset, depth=depth)


class Pages:
    """The statements for the pages of one list.

    Args:
        statement: returns the statement for a window. Its rows are in the order of the list.
        total: the length of the list. A subquery of the page's statement, so that concurrent inserts do not move a
            page that is counted from the end.
    """

    def __init__(self, statement: Callable[[Window], Select[Any]], total: ColumnElement[Any]) -> None:
        self._forward = Statement(statement(_FORWARD))
        self._backward = Statement(statement(_backward(total)))

    def rows(
        self, connection: Connection, values: Mapping[str, Any], *, total: int, limit: int, offset: int
    ) -> list[tuple[Any, ...]]:
        """Return a page. `total`, read before, only chooses the nearer end."""
        if limit <= 0 or offset >= total:
            return []
        nearer = self._forward if offset < total - offset else self._backward
        return nearer.rows(connection, {**values, "limit": limit, "offset": offset})
