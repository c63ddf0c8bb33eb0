"""Pages of lists, by offset or after a key.

PostgreSQL reads each row before an offset, so a page is counted from the nearer end: in a list of 1,000, offset 990
reads 10 rows backward. A page after a key is one range of an index at any depth, and is exact while the list changes.
A statement selects the page from one index before it joins other tables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    any_,
    bindparam,
    func,
    literal,
    select,
    true,
    tuple_,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from persistence.database.statements import Statement, is_distributed, lateral_join

_Entry = TypeVar("_Entry")
Columns = ReadOnlyColumnCollection[str, Any]
# The values of the columns that order a list, for one entry.
Key = Sequence[Any]
# The condition that a column has the value of a column of the page.
Match = Callable[[ColumnElement[Any], str], ColumnElement[bool]]

LIMIT, OFFSET, TOTAL = (bindparam(name, type_=BigInteger) for name in ("limit", "offset", "total"))


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

    def cut(self, rows: Select[Any]) -> Select[Any]:
        """Select the page from ordered rows."""
        return rows.limit(self.limit).offset(self.offset)


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


class PageRows:
    """The rows of a page, selected by an index, each joined with a row of other tables.

    On one server this is one statement. On several servers a second statement gets the other rows by their ids, so that
    only their servers are asked.

    Args:
        joined: selects the joined rows, in the order of the list.
        page: selects the page for several servers, in its order, or in the reverse order if `backward`.
        others: selects the other rows; its argument compares a column with one of the page.
        row_id: the column of the page and of `others` that identifies another row.
        keeps_all: also shows rows of the page that have no other row.

    Attributes:
        columns: the names of the columns.
    """

    def __init__(
        self,
        joined: Select[Any],
        page: Select[Any],
        others: Callable[[Match], Select[Any]],
        *,
        row_id: str,
        backward: bool = False,
        keeps_all: bool = False,
    ) -> None:
        self.columns = _names(joined)
        self._joined = Statement(joined)
        self._select_page, self._select_others = page, others
        self._row_id, self._backward, self._keeps_all = row_id, backward, keeps_all

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return the rows in order."""
        if is_distributed(connection):
            return self._find_by_ids(connection, values)
        return self._joined.rows(connection, values)

    def _find_by_ids(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        page = _as_dicts(self._select_page, self._page.rows(connection, values))
        if not page:
            return []
        lists = {f"page_{name}": [row[name] for row in page] for name in page[0]}
        others = _as_dicts(self._select_others(is_on_page), self._others.rows(connection, {**values, **lists}))
        by_id = {row[self._row_id]: row for row in others}
        missing = dict.fromkeys(self.columns)
        rows = [
            {**missing, **row, **by_id.get(row[self._row_id], {})}
            for row in (reversed(page) if self._backward else page)
            if self._keeps_all or row[self._row_id] in by_id
        ]
        return [tuple(row[name] for name in self.columns) for row in rows]

    @cached_property
    def _page(self) -> Statement:
        return Statement(self._select_page)

    @cached_property
    def _others(self) -> Statement:
        return Statement(self._select_others(is_on_page))


def join_page(
    page: Select[Any],
    others: Callable[[Match], Select[Any]],
    order: Callable[[Columns], list[ColumnElement[Any]]] | None = None,
) -> Select[Any]:
    """Select the rows of a page with the columns of other rows. A column that the page lacks is not compared."""
    keys = page.subquery("page")
    row = lateral_join(others(lambda column, name: column == keys.c[name] if name in keys.c else true()), "shown")
    further = [column for column in keys.c if column.name not in row.c]
    joined = select(row, *further).select_from(keys.join(row, true()))
    return joined if order is None else joined.order_by(*order(keys.c))


def is_on_page(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Return the condition that a column has a value of the page, which several servers get as a parameter."""
    return column == any_(bindparam(f"page_{name}", type_=ARRAY(column.type)))


def _names(rows: Select[Any]) -> list[str]:
    return [column.name for column in rows.selected_columns]


def _as_dicts(columns: Select[Any], rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    names = _names(columns)
    return [dict(zip(names, row, strict=True)) for row in rows]


class _Entries(Generic[_Entry]):
    """Makes the entries of a page, which are dataclasses, and its key from the columns with the same names."""

    def __init__(self, entry: Callable[..., _Entry], columns: Sequence[str], key: Sequence[str]) -> None:
        self._entry = entry
        self._fields = [columns.index(field.name) for field in fields(entry)]  # type: ignore[arg-type]  # a dataclass
        self._key = {name: columns.index(name) for name in key}

    def after(self, values: Mapping[str, Any], key: Key | None) -> Mapping[str, Any]:
        """Add the parameters for a page after a key."""
        if key is None:
            return values
        return {**values, **{f"after_{name}": value for name, value in zip(self._key, key, strict=True)}}

    def page(self, rows: Sequence[Sequence[Any]], total: int, *, has_next: bool) -> Page[_Entry]:
        """Return the page with these rows."""
        next_key = [rows[-1][position] for position in self._key.values()] if has_next and rows else None
        return Page([self._entry(*(row[position] for position in self._fields)) for row in rows], total, next_key)


class Pages(Generic[_Entry]):
    """The statements for the pages of one list, whose total is stored.

    `entry` is a dataclass whose fields are columns of the rows. The columns `key` order the list. `total` is a
    subquery, so that concurrent inserts do not move a page that is counted from the end. Citus refuses it in a
    statement for several servers; with `distributed_total` such a list has that there. In a list whose entries are far
    apart in the index, `exact_total` keeps the last page from looking for another entry.
    """

    def __init__(
        self,
        statement: Callable[[Window], PageRows],
        total: ColumnElement[Any],
        entry: Callable[..., _Entry],
        *,
        key: Sequence[str],
        exact_total: ColumnElement[Any] | None = None,
        distributed_total: ColumnElement[Any] | None = None,
    ) -> None:
        self._forward, self._after = statement(_FORWARD), statement(_AFTER)
        backward = statement(_backward(total))
        self._backward = {False: backward, True: backward}
        if distributed_total is not None:
            self._backward[True] = statement(_backward(distributed_total))
        self._last = self._forward if exact_total is None else statement(_to_the_end(exact_total))
        self._entries = _Entries(entry, self._forward.columns, key)

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
        may_be_last = after is not None or offset + limit >= total
        values = {**values, "total": total, "limit": limit + may_be_last, "offset": offset}
        if after is not None:
            statement = self._after
        elif offset >= total - offset:
            statement = self._backward[is_distributed(connection)]
        else:
            statement = self._last if may_be_last else self._forward
        rows = statement.rows(connection, self._entries.after(values, after))
        has_next = len(rows) > limit if may_be_last else bool(rows)
        return self._entries.page(rows[:limit], total, has_next=has_next)


class CountedPages(Generic[_Entry]):
    """The statements for the pages of a list without a stored total.

    On one server each reads the whole list once, and counts it. On several servers each counts its part, and only the
    page leaves it.

    Args:
        matching: selects the list without an order.
        page: selects the page from it.
        rows, order, row_id: as in PageRows.
        entry, key: as in Pages.
    """

    def __init__(
        self,
        matching: Select[Any],
        page: Callable[[FromClause, Window], Select[Any]],
        rows: Callable[[Match], Select[Any]],
        order: Callable[[Columns], list[ColumnElement[Any]]],
        entry: Callable[..., _Entry],
        *,
        key: Sequence[str],
        row_id: str,
    ) -> None:
        self._matching, self._page, self._select_rows, self._order, self._row_id = matching, page, rows, order, row_id
        self._forward, self._after = map(self._count_and_show, (_FORWARD, _AFTER))
        self._entries = _Entries(entry, self._shown(_FORWARD).columns, key)

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
        values = self._entries.after({**values, "limit": limit + 1 if limit else 0, "offset": offset}, after)
        rows, total = (self._find_distributed if is_distributed(connection) else self._find)(
            connection, values, after is not None
        )
        return self._entries.page(rows[:limit], total, has_next=len(rows) > limit)

    def _find(
        self, connection: Connection, values: Mapping[str, Any], is_after: bool
    ) -> tuple[list[tuple[Any, ...]], int]:
        """Find the rows and the total. The row of an empty page has only that."""
        rows = (self._after if is_after else self._forward).rows(connection, values)
        total = rows[0][-1]
        return ([] if rows[0][0] is None else rows), total

    def _find_distributed(
        self, connection: Connection, values: Mapping[str, Any], is_after: bool
    ) -> tuple[list[tuple[Any, ...]], int]:
        total = int(self._total.value(connection, values))
        rows = self._distributed[is_after].rows(connection, values) if values["limit"] else []
        return rows, total

    def _count_and_show(self, window: Window) -> Statement:
        matching = self._matching.cte("matching")
        shown = join_page(self._page(matching, window), self._select_rows).subquery("shown")
        total = select(func.count().label("total")).select_from(matching).subquery("counted")
        rows = select(shown, total.c.total).select_from(total.outerjoin(shown, true()))
        return Statement(rows.order_by(*self._order(shown.c)))

    @cached_property
    def _total(self) -> Statement:
        return Statement(select(func.count()).select_from(self._matching.subquery("matching")))

    @cached_property
    def _distributed(self) -> dict[bool, PageRows]:
        return {window is _AFTER: self._shown(window) for window in (_FORWARD, _AFTER)}

    def _shown(self, window: Window) -> PageRows:
        page = self._page(self._matching.subquery("matching"), window)
        return PageRows(join_page(page, self._select_rows), page, self._select_rows, row_id=self._row_id)
