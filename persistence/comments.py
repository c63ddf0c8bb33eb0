"""Comments. The functions of migration 0025 change comment_count with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Function,
    Select,
    Text,
    Uuid,
    bindparam,
    desc,
    func,
    literal_column,
    select,
    true,
)

from persistence.database.statements import Statement, lateral_join
from persistence.pages import Key, Match, Page, PageRows, Pages, Window, join_page
from persistence.schema.tables import comments, promo_counters, users


@dataclass(frozen=True)
class Comment:
    """A comment and its author's current profile. The name of a deleted user is None."""

    id: UUID
    text: str
    created_at: datetime
    author_id: UUID
    report_count: int
    name: str | None
    surname: str | None
    avatar_url: str | None


@dataclass(frozen=True)
class Written:
    """The result of an insert or update. `written_at` is None if nothing was written."""

    comments_enabled: bool
    written_at: datetime | None


_PROMO_ID, _ID, _AUTHOR_ID = (bindparam(name, type_=Uuid) for name in ("promo", "comment", "author"))
_AUTHOR = select(users.c.name, users.c.surname, users.c.avatar_url)
_COMMENT = select(
    comments.c.id, comments.c.text, comments.c.created_at, comments.c.author_id, comments.c.report_count
).where(comments.c.promo_id == _PROMO_ID)
# As in the index comments_reported.
_IS_REPORTED = comments.c.report_count > literal_column("0")
_COUNT = select(promo_counters.c.comment_count).where(promo_counters.c.promo_id == _PROMO_ID)
_TOTAL = Statement(_COUNT)
_COUNT_REPORTED = select(func.count()).select_from(comments).where(comments.c.promo_id == _PROMO_ID, _IS_REPORTED)
_TOTAL_REPORTED = Statement(_COUNT_REPORTED)


def _page(filters: Sequence[ColumnElement[bool]], window: Window) -> PageRows:
    """Return the statements for a page, from the index comments_newest or comments_reported."""
    key = comments.c.created_at, comments.c.id
    is_listed = (comments.c.promo_id == _PROMO_ID, *filters, *window.bounds(*key))
    order = key if window.backward else [desc(column) for column in key]
    page = window.cut(select(*key).where(*is_listed).order_by(*order))
    joined = join_page(page, _select_with_author, lambda columns: [desc(columns.created_at), desc(columns.id)])
    shown = window.cut(_COMMENT.where(*is_listed).order_by(*order))
    return PageRows(joined, shown, _select_authors, row_id="author_id", backward=window.backward, keeps_all=True)


def _select_with_author(match: Match) -> Select[Any]:
    author = lateral_join(_AUTHOR.where(users.c.id == comments.c.author_id), "author")
    rows = _COMMENT.where(match(comments.c.id, "id"))
    return rows.add_columns(*author.c).select_from(comments.outerjoin(author, true()))


def _select_authors(match: Match) -> Select[Any]:
    return _AUTHOR.add_columns(users.c.id.label("author_id")).where(match(users.c.id, "author_id"))


_ONE = _COMMENT.where(comments.c.id == _ID)
_FIND = PageRows(
    _ONE.add_columns(*_AUTHOR.selected_columns).outerjoin_from(comments, users, users.c.id == comments.c.author_id),
    _ONE,
    _select_authors,
    row_id="author_id",
    keeps_all=True,
)
_KEY = ("created_at", "id")
_PAGES = Pages(partial(_page, ()), _COUNT.scalar_subquery(), Comment, key=_KEY)
_REPORTED_PAGES = Pages(partial(_page, [_IS_REPORTED]), _COUNT_REPORTED.scalar_subquery(), Comment, key=_KEY)
_TEXT, _OLD_TEXT, _COUNTRY = (bindparam(name, type_=Text) for name in ("new_text", "old_text", "country"))


def _write(call: Function[Any]) -> Statement:
    return Statement(select(*call.table_valued("is_enabled", "written_at").c))


_INSERT = _write(func.add_comment(_PROMO_ID, _ID, _AUTHOR_ID, _COUNTRY, _TEXT))
_UPDATE = _write(func.edit_comment(_PROMO_ID, _ID, _AUTHOR_ID, _TEXT, _OLD_TEXT))
_DELETE = Statement(select(func.delete_comment(_PROMO_ID, _ID, _AUTHOR_ID, _OLD_TEXT)))


def find_comment(connection: Connection, promo_id: UUID, comment_id: UUID) -> Comment | None:
    """Return the comment; None: no such comment of the promo."""
    rows = _FIND.rows(connection, {"promo": promo_id, "comment": comment_id})
    return Comment(*rows[0]) if rows else None


def list_comments(
    connection: Connection, promo_id: UUID, *, limit: int, offset: int = 0, after: Key | None = None
) -> Page[Comment] | None:
    """Return a page of comments, latest first; None: no such promo."""
    total = _TOTAL.value(connection, {"promo": promo_id})
    if total is None:
        return None
    return _PAGES.page(connection, {"promo": promo_id}, total=total, limit=limit, offset=offset, after=after)


def list_reported_comments(
    connection: Connection, promo_id: UUID, *, limit: int, offset: int = 0, after: Key | None = None
) -> Page[Comment]:
    """Return a page of the comments that users have reported, latest first."""
    values = {"promo": promo_id}
    total = int(_TOTAL_REPORTED.value(connection, values))
    return _REPORTED_PAGES.page(connection, values, total=total, limit=limit, offset=offset, after=after)


def insert_comment(
    connection: Connection, promo_id: UUID, *, comment_id: UUID, author_id: UUID, country_key: str, text: str
) -> Written | None:
    """Insert a comment if the promo has comments enabled; None: no such promo."""
    values = {"promo": promo_id, "comment": comment_id, "author": author_id, "country": country_key, "new_text": text}
    row = _INSERT.row(connection, values)
    return None if row is None else Written(*row)


def update_comment(
    connection: Connection,
    promo_id: UUID,
    *,
    comment_id: UUID,
    author_id: UUID,
    text: str,
    old_text: str | None = None,
) -> Written | None:
    """Change the text if the promo has comments enabled; None: no such promo.

    Nothing is written either if the author has no such comment, or its text is not `old_text`.
    """
    values = {"promo": promo_id, "comment": comment_id, "author": author_id, "new_text": text, "old_text": old_text}
    row = _UPDATE.row(connection, values)
    return None if row is None else Written(*row)


def delete_comment(
    connection: Connection, promo_id: UUID, *, comment_id: UUID, author_id: UUID, old_text: str | None = None
) -> bool:
    """Delete a comment; False: no such comment of this author, or its text is not `old_text`."""
    values = {"promo": promo_id, "comment": comment_id, "author": author_id, "old_text": old_text}
    return bool(_DELETE.value(connection, values))


def delete_any_comment(connection: Connection, promo_id: UUID, comment_id: UUID) -> bool:
    """Delete a comment of any author; False: no such comment of the promo."""
    values = {"promo": promo_id, "comment": comment_id, "author": None, "old_text": None}
    return bool(_DELETE.value(connection, values))
