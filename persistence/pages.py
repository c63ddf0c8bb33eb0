"""Pages of lists, by offset or after a key.

PostgreSQL reads each row before an offset, so a page is counted from the nearer end: in a list of 1,000, offset 990
reads 10 rows backward. A page after a key is one range of an index at any depth, and is exact while the list changes.
A statement selects the page from one index before it joins other tables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    func,
    literal,
    select,
    true,
    tuple_,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from persistence.database.statements import Statement

_Entry = TypeVar("_Entry")
Columns = ReadOnlyColumnCollection[str, Any]
# The values of the columns that order a list, for one entry.
Key = Sequence[Any]

LIMIT, OFFSET = (bindparam(name, type_=BigInteger) for name in ("limit", "offset"))


class Page(NamedTuple, Generic[_Entry]):
    """Entries of a list. `total` is None if they are not counted, `next_key` is None if no entry follows the last."""

    entries: list[_Entry]
    total: int | None
    next_key: Key | None


@dataclass(frozen=True)
class Window:
    """The position of a page; `depth` rows are read, from one end of the list or after a key."""

    backward: bool
    limit: ColumnElement[Any]
    offset: ColumnElement[Any] | None
    depth: ColumnElement[Any]

    def bounds(self, *key: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """Return the condition of a page after a key, whose columns are all descending; none if it has an offset."""
        return [tuple_(*key) < tuple_(*map(after, key))] if self.offset is None else []


def after(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the parameter for a column of the key."""
    return bindparam(f"after_{column.name}", type_=column.type)


_FORWARD = Window(backward=False, limit=LIMIT, offset=OFFSET, depth=LIMIT + OFFSET)
_AFTER = Window(backward=False, limit=LIMIT, offset=None, depth=LIMIT)


def uncounted_page(entries: list[_Entry], limit: int, key_of: Callable[[_Entry], Key]) -> Page[_Entry]:
    """Return a page of a list whose entries are not counted, from up to limit + 1 entries."""
    shown = entries[:limit]
    return Page(shown, None, key_of(shown[-1]) if shown and len(entries) > limit else None)


def _backward(total: ColumnElement[Any]) -> Window:
    depth = func.greatest(total - OFFSET, literal(0, BigInteger))
    offset = func.greatest(depth - LIMIT, literal(0, BigInteger))
    return Window(backward=True, limit=depth - offset, offset=offset, depth=depth)


def _to_the_end(total: ColumnElement[Any]) -> Window:
    limit = func.least(LIMIT, func.greatest(total - OFFSET, literal(0, BigInteger)))
    return Window(backward=False, limit=limit, offset=OFFSET, depth=limit + OFFSET)


class _Rows(Generic[_Entry]):
    """The columns of the rows of a page: the fields of `entry`, a dataclass, and then the others of `key`."""

    def __init__(self, entry: Callable[..., _Entry], key: Sequence[str]) -> None:
        self._entry = entry
        self._fields = [field.name for field in fields(entry)]  # type: ignore[arg-type]  # a dataclass
        columns = [*self._fields, *(name for name in key if name not in self._fields)]
        self._key = {name: columns.index(name) for name in key}

    def after(self, values: Mapping[str, Any], key: Key | None) -> Mapping[str, Any]:
        """Add the parameters for a page after a key."""
        if key is None:
            return values
        return {**values, **{f"after_{name}": value for name, value in zip(self._key, key, strict=True)}}

    def page(self, rows: Sequence[Sequence[Any]], total: int, *, has_next: bool) -> Page[_Entry]:
        """Return the page with these rows."""
        next_key = [rows[-1][position] for position in self._key.values()] if has_next else None
        return Page([self._entry(*row[: len(self._fields)]) for row in rows], total, next_key)


class Pages(Generic[_Entry]):
    """The statements for the pages of one list.

    Rows have the fields of `entry`, a dataclass, and then the other columns of `key`, which orders the list. `total` is
    a subquery, so that concurrent inserts do not move a page that is counted from the end. In a list whose entries are
    far apart in the index, `exact_total` keeps the last page from looking for another entry.
    """

    def __init__(
        self,
        statement: Callable[[Window], Select[Any]],
        total: ColumnElement[Any],
        entry: Callable[..., _Entry],
        *,
        key: Sequence[str],
        exact_total: ColumnElement[Any] | None = None,
    ) -> None:
        self._rows = _Rows(entry, key)
        self._forward = Statement(statement(_FORWARD))
        self._backward = Statement(statement(_backward(total)))
        self._after = Statement(statement(_AFTER))
        self._last = self._forward if exact_total is None else Statement(statement(_to_the_end(exact_total)))

    def page(
        self,
        connection: Connection,
        values: Mapping[str, Any],
        *,
        total: int,
        limit: int,
        offset: int = 0,
        after: Key | None = None,
    ) -> Page[_Entry]:
        """Return a page. `total` also chooses the nearer end. Only a page that may be the last reads another row."""
        if limit <= 0 or (after is None and offset >= total):
            return Page([], total, None)
        statement, may_be_last = self._choose(total, limit, offset, after)
        values = {**values, "limit": limit + may_be_last, "offset": offset}
        rows = statement.rows(connection, self._rows.after(values, after))
        has_next = len(rows) > limit if may_be_last else bool(rows)
        return self._rows.page(rows[:limit], total, has_next=has_next)

    def _choose(self, total: int, limit: int, offset: int, after: Key | None) -> tuple[Statement, bool]:
        """Return the statement for a page, and whether the page may be the last."""
        if after is not None:
            return self._after, True
        may_be_last = offset + limit >= total
        if offset >= total - offset:
            return self._backward, may_be_last
        return (self._last if may_be_last else self._forward), may_be_last


class CountedPages(Generic[_Entry]):
    """The statements for the pages of a list without a stored total. Each reads the whole list once and counts it.

    Rows have the columns of `Pages`, and then the total. The row of an empty page has only that.
    """

    def __init__(
        self, statement: Callable[[Window], Select[Any]], entry: Callable[..., _Entry], *, key: Sequence[str]
    ) -> None:
        self._rows = _Rows(entry, key)
        self._forward, self._after = Statement(statement(_FORWARD)), Statement(statement(_AFTER))

    def page(
        self,
        connection: Connection,
        values: Mapping[str, Any],
        *,
        limit: int,
        offset: int = 0,
        after: Key | None = None,
    ) -> Page[_Entry]:
        """Return a page; another row is read to know whether one follows."""
        statement = self._forward if after is None else self._after
        values = {**values, "limit": limit + 1 if limit else 0, "offset": offset}
        rows = statement.rows(connection, self._rows.after(values, after))
        total = rows[0][-1]
        if rows[0][0] is None:
            rows = []
        return self._rows.page(rows[:limit], total, has_next=len(rows) > limit)


def count_and_show(
    matching: CTE, page: Select[Any], order: Callable[[Columns], list[ColumnElement[Any]]]
) -> Select[Any]:
    """Select the rows of a page of `matching`, in an order by columns of the page, each with the total."""
    shown = page.subquery("shown")
    total = select(func.count().label("total")).select_from(matching).subquery("counted")
    rows = select(shown, total.c.total).select_from(total.outerjoin(shown, true()))
    return rows.order_by(*order(shown.c))
