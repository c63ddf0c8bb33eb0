"""Reports of comments: at most one per user and comment. A function changes report_count with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Text, Uuid, bindparam, desc, func, select

from persistence.database.statements import Statement
from persistence.pages import LIMIT, OFFSET
from persistence.schema.tables import comment_reports, comments


@dataclass(frozen=True)
class CommentReport:
    """A report as the company sees it."""

    reason: str
    date: datetime


_PROMO_ID, _COMMENT_ID, _USER_ID = (bindparam(name, type_=Uuid) for name in ("promo", "comment", "user"))


_REPORT = func.report_comment(_PROMO_ID, _COMMENT_ID, _USER_ID, bindparam("reason", type_=Text))
_INSERT = Statement(select(_REPORT))
_COUNT = select(comments.c.report_count).where(comments.c.promo_id == _PROMO_ID, comments.c.id == _COMMENT_ID)
_TOTAL = Statement(_COUNT)
_PAGE = Statement(
    select(comment_reports.c.reason, comment_reports.c.reported_at)
    .where(comment_reports.c.promo_id == _PROMO_ID, comment_reports.c.comment_id == _COMMENT_ID)
    .order_by(desc(comment_reports.c.reported_at), desc(comment_reports.c.user_id))
    .limit(LIMIT)
    .offset(OFFSET)
)


def insert_report(
    connection: Connection, promo_id: UUID, comment_id: UUID, *, user_id: UUID, reason: str
) -> UUID | None:
    """Report a comment unless the user wrote it or has reported it, and return its author; None: no such comment."""
    author_id: UUID | None = _INSERT.value(
        connection, {"promo": promo_id, "comment": comment_id, "user": user_id, "reason": reason}
    )
    return author_id


def list_reports(
    connection: Connection, promo_id: UUID, comment_id: UUID, *, limit: int, offset: int
) -> tuple[list[CommentReport], int] | None:
    """Return a page of the reports, latest first, and the total; None: no such comment of the promo."""
    values: Mapping[str, Any] = {"promo": promo_id, "comment": comment_id}
    total = _TOTAL.value(connection, values)
    if total is None:
        return None
    rows = _PAGE.rows(connection, {**values, "limit": limit, "offset": offset})
    return [CommentReport(*row) for row in rows], total
