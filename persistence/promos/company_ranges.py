"""The index ranges of a page of a company's list after a key.

The comparison of rows is one range of an index, but is never true for NULL. So a list that is sorted by a date has two
ranges: the promos with a date, and those without.
"""

from typing import Any

from sqlalchemy import ColumnElement, case, func, literal_column, tuple_

from persistence.pages import Columns, Window, after
from persistence.schema.tables import promos


def company_ranges(sort_by: str | None, window: Window, columns: Columns = promos.c) -> list[list[ColumnElement[bool]]]:
    """Return the conditions of each range; one range without conditions for a page with an offset."""
    newest = columns.created_at, columns.id
    if sort_by is None or window.offset is not None:
        return [window.bounds(*newest)]
    by_date = columns[sort_by]
    is_open_first = sort_by == "active_until"
    key_date, key_created_at, key_id = map(after, (by_date, *newest))
    # If the key is in one range, all promos of the other follow it, or none.
    first_date = func.coalesce(key_date, _infinity("date", is_open_first))
    first_created_at = case((key_date.is_(None), key_created_at), else_=_infinity("timestamptz", not is_open_first))
    dated = tuple_(by_date, *newest) < tuple_(first_date, key_created_at, key_id)
    undated = tuple_(*newest) < tuple_(first_created_at, key_id)
    return [[dated], [by_date.is_(None), undated]]


def _infinity(kind: str, is_positive: bool) -> ColumnElement[Any]:
    return literal_column(f"'{'' if is_positive else '-'}infinity'::{kind}")
