"""All that is stored about a user and that other operations do not list; never the password hash.

Every list is read in portions, in an order that does not change when entries are added at its end. An index alone
chooses the keys of a portion (see persistence.pages). The total of most lists is not stored, so they are read from the
start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Column, Connection, Select, Uuid, and_, bindparam, func, select, true

from persistence.database.statements import Statement, lateral_join
from persistence.pages import BEFORE, MOST
from persistence.schema.audit_tables import account_events
from persistence.schema.tables import activations, comments, kept_answers, likes, promo_codes, promos, users


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


_USER_ID = bindparam("user", type_=Uuid)


def _portion(owner: Column[Any], key: Sequence[Column[Any]], columns: Sequence[Column[Any]]) -> Statement:
    """Return the statement for a portion of the rows of an owner, ordered by `key`.

    An index must hold the owner and the key. It chooses the portion, and then finds each row again.
    """
    keys = select(*key).where(owner == _USER_ID).order_by(*key).limit(MOST).offset(BEFORE)
    page = keys.subquery("page")
    found = and_(owner == _USER_ID, *(column == page.c[column.name] for column in key))
    row = lateral_join(select(*columns).where(found), "own")
    return Statement(select(row).select_from(page.join(row, true())).order_by(*page.c))


_own, _kept, _event = activations.c, kept_answers.c, account_events.c
_LIKES = Statement(
    select(likes.c.promo_id).where(likes.c.user_id == _USER_ID).order_by(likes.c.promo_id).limit(MOST).offset(BEFORE)
)
_COMMENTS = _portion(
    comments.c.author_id,
    (comments.c.created_at, comments.c.id),
    (comments.c.id, comments.c.promo_id, comments.c.text, comments.c.created_at),
)
_ACTIVATIONS = _portion(
    _own.user_id, (_own.activated_at, _own.id), (_own.id, _own.promo_id, _own.country_key, _own.activated_at)
)
_KEYS = _portion(
    _kept.account_id, (_kept.operation, _kept.key), (_kept.operation, _kept.key, _kept.expires_at, _kept.body)
)
_EVENTS = _portion(_event.user_id, (_event.id,), (_event.event, _event.members, _event.happened_at))
_COMMON_VALUES = Statement(
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
    code = lateral_join(codes, "code")
    return select(code).join_from(promo, code, true()).join(given, given.c.id == code.c.activation_id)


_ISSUED = Statement(_issued())
_SIGNED_UP_AT = Statement(select(users.c.created_at).where(users.c.id == _USER_ID))


def find_signed_up_at(connection: Connection, user_id: UUID) -> datetime | None:
    """Return when the user signed up, in UTC; None if there is no such user."""
    signed_up_at: datetime | None = _SIGNED_UP_AT.value(connection, {"user": user_id})
    return signed_up_at


def list_likes(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[UUID]:
    """Return the promos that the user likes, in the order of their ids."""
    return [row[0] for row in _rows(connection, _LIKES, user_id, limit, offset)]


def list_own_comments(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnComment]:
    """Return the comments of the user, the oldest first."""
    return [OwnComment(*row) for row in _rows(connection, _COMMENTS, user_id, limit, offset)]


def list_own_keys(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnKey]:
    """Return the keys of the user under which answers are kept."""
    return [OwnKey(*row) for row in _rows(connection, _KEYS, user_id, limit, offset)]


def list_own_events(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnEvent]:
    """Return what happened to the account of the user, the oldest first."""
    return [OwnEvent(*row) for row in _rows(connection, _EVENTS, user_id, limit, offset)]


def list_own_activations(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnActivation]:
    """Return the activations of the user with what they gave, the oldest first."""
    rows = _rows(connection, _ACTIVATIONS, user_id, limit, offset)
    values = _values(connection, rows) if rows else {}
    return [OwnActivation(own, promo_id, values[own], *further) for own, promo_id, *further in rows]


def _values(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> Mapping[UUID, str]:
    """Return what activations gave, by their ids."""
    common: dict[UUID, str | None] = dict(_COMMON_VALUES.rows(connection, {"promos": list({row[1] for row in rows})}))
    of_unique = [row for row in rows if common[row[1]] is None]
    issued = {"activations": [row[0] for row in of_unique], "promos": list({row[1] for row in of_unique})}
    codes: dict[UUID, str] = dict(_ISSUED.rows(connection, issued)) if of_unique else {}
    return {row[0]: common[row[1]] or codes[row[0]] for row in rows}


def _rows(
    connection: Connection, statement: Statement, user_id: UUID, limit: int, offset: int
) -> list[tuple[Any, ...]]:
    return statement.rows(connection, {"user": user_id, "most": limit, "before": offset})
