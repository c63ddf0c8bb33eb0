"""All that is kept about a user and that their other requests do not show together; no password hash is.

Lists are read in portions, the oldest entries first: so no statement takes long, however many entries there are, and
other threads of the process have their turn between the rows of one portion and those of the next.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Connection, Select, Uuid, bindparam, func, select, true

from persistence.prepared import Prepared, hidden, row_by_row
from persistence.tables import activations, comments, kept_answers, likes, promo_codes, promos, users
from persistence.trail_tables import account_events


@dataclass(frozen=True)
class OwnComment:
    """A comment of the user; `date` is when it was written, in UTC."""

    id: UUID
    promo_id: UUID
    text: str
    date: datetime


@dataclass(frozen=True)
class OwnActivation:
    """An activation: `promo` is the value that it gave, `country` case-folded, `date` when it was, in UTC."""

    id: UUID
    promo_id: UUID
    promo: str
    country: str
    date: datetime


@dataclass(frozen=True)
class OwnKey:
    """An Idempotency-Key under which an answer to the user is kept, until `expires_at` in UTC.

    `answer` is its body: a comment in it is as it was then, and is there after it has been deleted.
    """

    operation: str
    key: str
    expires_at: datetime
    answer: Any


@dataclass(frozen=True)
class OwnEvent:
    """Something that happened to the account; `members`: of a change of the profile, which were changed, else None."""

    event: str
    members: list[str] | None
    date: datetime


_PORTION = 500
_USER_ID = bindparam("user", type_=Uuid)


def _portion(rows: Select[Any]) -> Prepared:
    """Return the statement of a portion of rows; its plan is the same wherever the portion begins."""
    most, before = (hidden(bindparam(name, type_=BigInteger)) for name in ("most", "before"))
    return Prepared(rows.limit(most).offset(before))


_LIKES = _portion(select(likes.c.promo_id).where(likes.c.user_id == _USER_ID).order_by(likes.c.promo_id))
_COMMENTS = _portion(
    select(comments.c.id, comments.c.promo_id, comments.c.text, comments.c.created_at)
    .where(comments.c.author_id == _USER_ID)
    .order_by(comments.c.created_at, comments.c.id)
)
_KEYS = _portion(
    select(kept_answers.c.operation, kept_answers.c.key, kept_answers.c.expires_at, kept_answers.c.body)
    .where(kept_answers.c.account_id == _USER_ID)
    .order_by(kept_answers.c.operation, kept_answers.c.key)
)


def _own_activations() -> Select[Any]:
    own = activations.c
    page = select(own.id, own.promo_id, own.country_key, own.activated_at).where(own.user_id == _USER_ID)
    return page.order_by(own.activated_at, own.id)


_ACTIVATIONS = _portion(_own_activations())
_EVENTS = _portion(
    select(account_events.c.event, account_events.c.members, account_events.c.happened_at)
    .where(account_events.c.user_id == _USER_ID)
    .order_by(account_events.c.id)
)
_COMMON_VALUES = Prepared(
    select(promos.c.id, promos.c.promo_common).where(promos.c.id == func.any(bindparam("promos", type_=ARRAY(Uuid))))
)


def _issued() -> Select[Any]:
    """Return the statement of the codes that activations were given, found among all codes of their promos.

    No index leads from an activation to its code, since each activation of a UNIQUE promo would have to change it. So
    each promo is read once, however many of the activations are of it.
    """
    ids, promo_ids = (bindparam(name, type_=ARRAY(Uuid)) for name in ("activations", "promos"))
    promo = func.unnest(promo_ids).table_valued("id", name="promo").render_derived()
    given = func.unnest(ids).table_valued("id", name="given").render_derived()
    codes = select(promo_codes.c.activation_id, promo_codes.c.value).where(promo_codes.c.promo_id == promo.c.id)
    code = row_by_row(codes, "code")
    return select(code).join_from(promo, code, true()).join(given, given.c.id == code.c.activation_id)


_ISSUED = Prepared(_issued())
_SIGNED_UP_AT = Prepared(select(users.c.created_at).where(users.c.id == _USER_ID))


def find_signed_up_at(connection: Connection, user_id: UUID) -> datetime | None:
    """Return when the user signed up, in UTC; None if there is no such user."""
    signed_up_at: datetime | None = _SIGNED_UP_AT.value(connection, {"user": user_id})
    return signed_up_at


def list_likes(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[UUID]:
    """Return the promos that the user likes, in the order of their ids."""
    return [row[0] for rows in _portions(connection, _LIKES, user_id, limit, offset) for row in rows]


def list_own_comments(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnComment]:
    """Return the comments of the user, the oldest first."""
    portions = _portions(connection, _COMMENTS, user_id, limit, offset)
    return [OwnComment(*row) for rows in portions for row in rows]


def list_own_keys(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnKey]:
    """Return the keys of the user under which answers are kept."""
    return [OwnKey(*row) for rows in _portions(connection, _KEYS, user_id, limit, offset) for row in rows]


def list_own_events(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnEvent]:
    """Return what happened to the account of the user, the oldest first."""
    return [OwnEvent(*row) for rows in _portions(connection, _EVENTS, user_id, limit, offset) for row in rows]


def list_own_activations(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnActivation]:
    """Return the activations of the user with what they gave, the oldest first."""
    listed = []
    for rows in _portions(connection, _ACTIVATIONS, user_id, limit, offset):
        values = _values(connection, rows)
        listed += [OwnActivation(own, promo_id, values[own], *further) for own, promo_id, *further in rows]
    return listed


def _values(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> Mapping[UUID, str]:
    """Return what activations gave, by their ids."""
    common: dict[UUID, str | None] = dict(_COMMON_VALUES.rows(connection, {"promos": list({row[1] for row in rows})}))
    of_unique = [row for row in rows if common[row[1]] is None]
    issued = {"activations": [row[0] for row in of_unique], "promos": list({row[1] for row in of_unique})}
    codes: dict[UUID, str] = dict(_ISSUED.rows(connection, issued)) if of_unique else {}
    return {row[0]: common[row[1]] or codes[row[0]] for row in rows}


def _portions(
    connection: Connection, statement: Prepared, user_id: UUID, limit: int, offset: int
) -> Iterator[list[tuple[Any, ...]]]:
    end = offset + limit
    while offset < end:
        most = min(_PORTION, end - offset)
        rows = statement.rows(connection, {"user": user_id, "most": most, "before": offset})
        if rows:
            yield rows
        if len(rows) < most:
            return
        offset += most
