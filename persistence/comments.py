"""Comments. The same statement changes comment_count."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, Text, Uuid, bindparam, delete, desc, func, insert, select, true, update

from persistence.database.statements import Statement, lateral_join
from persistence.pages import Key, Page, Pages, Window
from persistence.schema.tables import comments, promo_counters, users


@dataclass(frozen=True)
class Comment:
    """A comment and its author's current profile. The name of a deleted user is None."""

    id: UUID
    text: str
    created_at: datetime
    author_id: UUID
    name: str | None
    surname: str | None
    avatar_url: str | None


_PROMO_ID, _ID, _AUTHOR_ID = (bindparam(name, type_=Uuid) for name in ("promo", "comment", "author"))
_AUTHOR = select(users.c.name, users.c.surname, users.c.avatar_url)
_COMMENT = select(comments.c.id, comments.c.text, comments.c.created_at, comments.c.author_id).where(
    comments.c.promo_id == _PROMO_ID
)
_FIND = Statement(
    _COMMENT.add_columns(*_AUTHOR.selected_columns)
    .join_from(comments, users, users.c.id == comments.c.author_id)
    .where(comments.c.id == _ID)
)
_COUNT = select(promo_counters.c.comment_count).where(promo_counters.c.promo_id == _PROMO_ID)
_TOTAL = Statement(_COUNT)


def _page(window: Window) -> Select[Any]:
    """Return the statement for a page, from the index comments_newest."""
    key = comments.c.created_at, comments.c.id
    keys = select(*key).where(comments.c.promo_id == _PROMO_ID, *window.bounds(*key))
    keys = keys.order_by(*(key if window.backward else map(desc, key)))
    page = keys.limit(window.limit).offset(window.offset).subquery("page")
    comment = lateral_join(_COMMENT.where(comments.c.id == page.c.id), "comment")
    author = lateral_join(_AUTHOR.where(users.c.id == comment.c.author_id), "author")
    rows = select(comment, author).select_from(page.join(comment, true()).join(author, true()))
    return rows.order_by(*map(desc, page.c))


_PAGES = Pages(_page, _COUNT.scalar_subquery(), key=("created_at", "id"), columns=Comment.__dataclass_fields__)
_COUNTED = (
    update(promo_counters)
    .where(promo_counters.c.promo_id == _PROMO_ID)
    .values(comment_count=promo_counters.c.comment_count + 1)
    .returning(promo_counters.c.promo_id)
    .cte("counted")
)
_INSERT = Statement(
    insert(comments)
    .from_select(
        ["promo_id", "id", "author_id", "text"],
        select(_COUNTED.c.promo_id, _ID, _AUTHOR_ID, bindparam("new_text", type_=Text)),
    )
    .returning(comments.c.created_at)
)
# Any text, if the parameter is null.
_OLD_TEXT = func.coalesce(bindparam("old_text", type_=Text), comments.c.text)
_OWN = (
    comments.c.promo_id == _PROMO_ID,
    comments.c.id == _ID,
    comments.c.author_id == _AUTHOR_ID,
    comments.c.text == _OLD_TEXT,
)
_UPDATE = Statement(update(comments).where(*_OWN).values(text=bindparam("new_text")).returning(comments.c.id))
# Locked first, because promo_counters comes before comments in the lock order.
_LOCKED = select(promo_counters.c.promo_id).where(promo_counters.c.promo_id == _PROMO_ID).with_for_update().cte("promo")
_DELETED = (
    delete(comments)
    .where(*_OWN, comments.c.promo_id == _LOCKED.c.promo_id)
    .returning(comments.c.promo_id)
    .cte("deleted")
)
_DELETE = Statement(
    update(promo_counters)
    .where(promo_counters.c.promo_id == _DELETED.c.promo_id)
    .values(comment_count=promo_counters.c.comment_count - 1)
    .returning(promo_counters.c.promo_id)
)


def find_comment(connection: Connection, promo_id: UUID, comment_id: UUID) -> Comment | None:
    """Return the comment; None: no such comment of the promo."""
    row = _FIND.row(connection, {"promo": promo_id, "comment": comment_id})
    return None if row is None else Comment(*row)


def list_comments(
    connection: Connection, promo_id: UUID, *, limit: int, offset: int = 0, after: Key | None = None
) -> Page[Comment] | None:
    """Return a page of comments, latest first; None: no such promo."""
    total = _TOTAL.value(connection, {"promo": promo_id})
    if total is None:
        return None
    values = {"promo": promo_id}
    rows, next_key = _PAGES.rows(connection, values, total=total, limit=limit, offset=offset, after=after)
    return Page([Comment(*row) for row in rows], total, next_key)


def insert_comment(
    connection: Connection, promo_id: UUID, *, comment_id: UUID, author_id: UUID, text: str
) -> datetime | None:
    """Insert a comment and return its created_at; None: no such promo."""
    values = {"promo": promo_id, "comment": comment_id, "author": author_id, "new_text": text}
    created_at: datetime | None = _INSERT.value(connection, values)
    return created_at


def update_comment(
    connection: Connection,
    promo_id: UUID,
    *,
    comment_id: UUID,
    author_id: UUID,
    text: str,
    old_text: str | None = None,
) -> bool:
    """Change the text; False: no such comment of this author, or its text is not `old_text`."""
    values = {"promo": promo_id, "comment": comment_id, "author": author_id, "new_text": text, "old_text": old_text}
    return _UPDATE.row(connection, values) is not None


def delete_comment(
    connection: Connection, promo_id: UUID, *, comment_id: UUID, author_id: UUID, old_text: str | None = None
) -> bool:
    """Delete a comment; False: no such comment of this author, or its text is not `old_text`."""
    values = {"promo": promo_id, "comment": comment_id, "author": author_id, "old_text": old_text}
    return _DELETE.row(connection, values) is not None
