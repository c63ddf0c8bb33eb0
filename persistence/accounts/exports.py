"""Pages of the personal data of a user, for the export; own_activations has those of the activations.

Pages count from the start only, because most totals are not stored. Times are in UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Connection, Uuid, and_, bindparam, func, select, true, union_all

from persistence.database.statements import Statement, is_distributed, lateral_join
from persistence.pages import LIMIT, OFFSET
from persistence.schema.audit_tables import account_events, account_log
from persistence.schema.tables import comment_reports, comments, likes, stored_responses, users


@dataclass(frozen=True)
class OwnComment:
    """A comment of the user."""

    id: UUID
    promo_id: UUID
    text: str
    date: datetime


@dataclass(frozen=True)
class OwnReport:
    """A report of a comment."""

    promo_id: UUID
    comment_id: UUID
    reason: str
    date: datetime


@dataclass(frozen=True)
class OwnKey:
    """A stored response; `answer` is its body."""

    operation: str
    key: str
    expires_at: datetime
    answer: Any


@dataclass(frozen=True)
class OwnEvent:
    """An event; `members` is None unless it is `profile_changed`."""

    event: str
    members: list[str] | None
    date: datetime


_USER_ID = bindparam("user", type_=Uuid)


def _page(owner: Column[Any], key: Sequence[Column[Any]], columns: Sequence[Column[Any]]) -> Statement:
    """Return a statement that needs an index on (owner, *key)."""
    keys = select(*key).where(owner == _USER_ID).order_by(*key).limit(LIMIT).offset(OFFSET)
    page = keys.subquery("page")
    is_on_page = and_(owner == _USER_ID, *(column == page.c[column.name] for column in key))
    row = lateral_join(select(*columns).where(is_on_page), "own")
    return Statement(select(row).select_from(page.join(row, true())).order_by(*page.c))


def _events(*, distributed: bool) -> Statement:
    """Select from both tables of the audit log; account_events has those of the version before, not yet moved.

    Several servers have only the first: their tables are distributed when all events have been moved.
    """
    new, old = account_log.c, account_events.c
    moved_id = func.moved_event_id(old.happened_at, old.id)
    parts = [(select(new.id, new.event, new.members, new.happened_at).where(new.account_id == _USER_ID), new.id)]
    if not distributed:
        earlier = select(moved_id, old.event, old.members, old.happened_at).where(old.user_id == _USER_ID)
        parts.append((earlier, old.id))
    firsts = (select(rows.order_by(key).limit(LIMIT + OFFSET).subquery()) for rows, key in parts)
    event = union_all(*firsts).subquery("event").c
    return Statement(
        select(event.event, event.members, event.happened_at).order_by(event.id).limit(LIMIT).offset(OFFSET)
    )


_response = stored_responses.c
_LIKES = Statement(
    select(likes.c.promo_id).where(likes.c.user_id == _USER_ID).order_by(likes.c.promo_id).limit(LIMIT).offset(OFFSET)
)
_COMMENTS = _page(
    comments.c.author_id,
    (comments.c.created_at, comments.c.id),
    (comments.c.id, comments.c.promo_id, comments.c.text, comments.c.created_at),
)
_report = comment_reports.c
_REPORTS = _page(
    _report.user_id,
    (_report.promo_id, _report.comment_id),
    (_report.promo_id, _report.comment_id, _report.reason, _report.reported_at),
)
_KEYS = _page(
    _response.account_id,
    (_response.operation, _response.key),
    (_response.operation, _response.key, _response.expires_at, _response.body),
)
_EVENTS = {distributed: _events(distributed=distributed) for distributed in (False, True)}
_SIGNED_UP_AT = Statement(select(users.c.created_at).where(users.c.id == _USER_ID))


def find_sign_up_time(connection: Connection, user_id: UUID) -> datetime | None:
    """Return the time of the sign-up; None if the account is missing or closed."""
    signed_up_at: datetime | None = _SIGNED_UP_AT.value(connection, {"user": user_id})
    return signed_up_at


def list_likes(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[UUID]:
    """Return the promos that the user likes, by id."""
    return [row[0] for row in _rows(connection, _LIKES, user_id, limit, offset)]


def list_own_comments(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnComment]:
    """Return the comments, oldest first."""
    return [OwnComment(*row) for row in _rows(connection, _COMMENTS, user_id, limit, offset)]


def list_own_reports(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnReport]:
    """Return the reports of comments, by promo and comment."""
    return [OwnReport(*row) for row in _rows(connection, _REPORTS, user_id, limit, offset)]


def list_own_keys(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnKey]:
    """Return the stored responses, by operation and key."""
    return [OwnKey(*row) for row in _rows(connection, _KEYS, user_id, limit, offset)]


def list_own_events(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnEvent]:
    """Return the events, oldest first."""
    return [OwnEvent(*row) for row in _rows(connection, _EVENTS[is_distributed(connection)], user_id, limit, offset)]


def _rows(
    connection: Connection, statement: Statement, user_id: UUID, limit: int, offset: int
) -> list[tuple[Any, ...]]:
    return statement.rows(connection, {"user": user_id, "limit": limit, "offset": offset})
