"""Pages by limit and offset.

PostgreSQL reads each row before an offset, so a page is counted from the nearer end: in a list of 1,000, offset 990
reads 10 rows backward. A statement selects the page from one index before it joins other tables.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, bindparam, func, literal

from persistence.database.statements import Statement

LIMIT, OFFSET = (bindparam(name, type_=BigInteger) for name in ("limit", "offset"))


@dataclass(frozen=True)
class Window:
    """The position of a page, counted from one end of a list; `depth` rows are read."""

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

    `total` is a subquery, so that concurrent inserts do not move a page that is counted from the end.
    """

    def __init__(self, statement: Callable[[Window], Select[Any]], total: ColumnElement[Any]) -> None:
        self._forward = Statement(statement(_FORWARD))
        self._backward = Statement(statement(_backward(total)))

    def rows(
        self, connection: Connection, values: Mapping[str, Any], *, total: int, limit: int, offset: int
    ) -> list[tuple[Any, ...]]:
        """Return a page; `total` only chooses the nearer end."""
        if limit <= 0 or offset >= total:
            return []
        nearer = self._forward if offset < total - offset else self._backward
        return nearer.rows(connection, {**values, "limit": limit, "offset": offset})
