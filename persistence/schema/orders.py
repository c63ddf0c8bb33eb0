"""Sort orders of indexes and statements."""

from typing import Any

from sqlalchemy import ColumnElement, desc
from sqlalchemy.sql.base import ReadOnlyColumnCollection


def company_order(
    columns: ReadOnlyColumnCollection[str, Any], sort_by: str | None, *, backward: bool = False
) -> list[ColumnElement[Any]]:
    """Return the order of a company's list: open periods sort as infinite, equal rows newest first."""
    if backward:
        begins, ends = columns.active_from.asc().nulls_first(), columns.active_until.asc().nulls_last()
    else:
        begins, ends = columns.active_from.desc().nulls_last(), columns.active_until.desc().nulls_first()
    first = {None: [], "active_from": [begins], "active_until": [ends]}[sort_by]
    newest = [columns.created_at, columns.id]
    return [*first, *(newest if backward else map(desc, newest))]
