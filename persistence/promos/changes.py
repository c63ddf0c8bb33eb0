"""The audit log of promos. `promos.insert_promo` records the creation.

A change is recorded under the lock of `find_promo`, so the numbers have no gaps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Integer,
    Uuid,
    bindparam,
    desc,
    func,
    insert,
    literal_column,
    select,
)

from persistence.database.statements import Statement, as_json
from persistence.pages import Key, Page
from persistence.schema.audit_tables import promo_changes


@dataclass(frozen=True)
class PromoChange:
    """An entry; `changes` and `comment_id` are None for other events; `changed_at` in UTC."""

    number: int
    company_id: UUID
    changed_at: datetime
    event: str
    changes: dict[str, Any] | None
    comment_id: UUID | None


_PROMO_ID = bindparam("promo", type_=Uuid)
_COLUMNS = [promo_changes.c[name] for name in PromoChange.__dataclass_fields__]
_NEWEST = (
    select(promo_changes.c.number)
    .where(promo_changes.c.promo_id == _PROMO_ID)
    .order_by(desc(promo_changes.c.number))
    .limit(literal_column("1"))
)
_TOTAL = Statement(_NEWEST)
_PAGE = Statement(
    select(*_COLUMNS)
    .where(
        promo_changes.c.promo_id == _PROMO_ID,
        promo_changes.c.number >= bindparam("first", type_=Integer),
        promo_changes.c.number <= bindparam("until", type_=Integer),
    )
    .order_by(desc(promo_changes.c.number))
)


def _insert(event: str, column: str, value: ColumnElement[Any]) -> Statement:
    number = func.coalesce(_NEWEST.scalar_subquery(), 0) + 1
    row = select(_PROMO_ID, number, bindparam("company", type_=Uuid), literal_column(f"'{event}'"), value)
    return Statement(insert(promo_changes).from_select(["promo_id", "number", "company_id", "event", column], row))


_INSERT = _insert("changed", "changes", bindparam("difference", type_=JSON))
_INSERT_REMOVAL = _insert("comment_removed", "comment_id", bindparam("comment", type_=Uuid))


def list_changes(
    connection: Connection, promo_id: UUID, *, limit: int, offset: int = 0, after: Key | None = None
) -> Page[PromoChange]:
    """Return a page of the audit log, newest first. The key of an entry is its number."""
    total: int = _TOTAL.value(connection, {"promo": promo_id}) or 0
    until = total - offset if after is None else after[0] - 1
    first = max(until - limit, 0) + 1
    if first > until:
        return Page([], total, None)
    rows = _PAGE.rows(connection, {"promo": promo_id, "first": first, "until": until})
    return Page([PromoChange(*row) for row in rows], total, [first] if first > 1 else None)


def insert_change(connection: Connection, promo_id: UUID, company_id: UUID, changes: Mapping[str, Any]) -> None:
    """Record changed members, each with "from" if it had a value, and "to" if it has one."""
    _INSERT.count(connection, {"promo": promo_id, "company": company_id, "difference": as_json(changes)})


def insert_comment_removal(connection: Connection, promo_id: UUID, company_id: UUID, comment_id: UUID) -> None:
    """Record that the company removed a comment."""
    _INSERT_REMOVAL.count(connection, {"promo": promo_id, "company": company_id, "comment": comment_id})
