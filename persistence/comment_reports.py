"""Reports of comments: at most one per user and comment. The same statement changes report_count."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, Text, Uuid, bindparam, desc, exists, select, update
from sqlalchemy.dialects.postgresql import insert

from persistence.database.statements import Statement
from persistence.pages import LIMIT, OFFSET
from persistence.schema.tables import comment_reports, comments, users


@dataclass(frozen=True)
class CommentReport:
    """A report as the company sees it."""

    reason: str
    date: datetime


@dataclass(frozen=True)
class ReportResult:
    """The author of the comment, and whether the reporter's account is open."""

    author_id: UUID
    is_open: bool


_PROMO_ID, _COMMENT_ID, _USER_ID = (bindparam(name, type_=Uuid) for name in ("promo", "comment", "user"))


def _insert() -> Select[Any]:
    # Locked, so that the account is not closed before the report is inserted.
    is_open = (users.c.id == _USER_ID, users.c.password_hash.is_not(None))
    reporter = select(users.c.id).where(*is_open).with_for_update(read=True, key_share=True).cte("reporter")
    comment = (
        select(comments.c.promo_id, comments.c.id, comments.c.author_id)
        .where(comments.c.promo_id == _PROMO_ID, comments.c.id == _COMMENT_ID)
        .with_for_update(key_share=True)
        .cte("comment")
    )
    row = select(comment.c.promo_id, comment.c.id, reporter.c.id, bindparam("reason", type_=Text)).where(
        comment.c.author_id != reporter.c.id
    )
    reported = (
        insert(comment_reports)
        .from_select(["promo_id", "comment_id", "user_id", "reason"], row)
        .on_conflict_do_nothing()
        .returning(comment_reports.c.promo_id, comment_reports.c.comment_id)
        .cte("reported")
    )
    counted = (
        update(comments)
        .where(comments.c.promo_id == reported.c.promo_id, comments.c.id == reported.c.comment_id)
        .values(report_count=comments.c.report_count + 1)
        .cte("counted")
    )
    return select(comment.c.author_id, exists(select(reporter.c.id))).add_cte(counted)


_INSERT = Statement(_insert())
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
) -> ReportResult | None:
    """Report a comment unless the user wrote it or has reported it; None: no such comment of the promo."""
    row = _INSERT.row(connection, {"promo": promo_id, "comment": comment_id, "user": user_id, "reason": reason})
    return None if row is None else ReportResult(*row)


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
