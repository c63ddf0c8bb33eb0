"""Likes: at most one per user and promo. The same statement changes like_count, and a trigger promo_activity."""

from typing import Any
from uuid import UUID

from sqlalchemy import CTE, Connection, Select, Text, Uuid, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from persistence.database.statements import Statement
from persistence.schema.tables import likes, promo_counters

_PROMO_ID, _USER_ID = bindparam("promo", type_=Uuid), bindparam("user", type_=Uuid)
_NOW = func.quarter_of(func.statement_timestamp())


def _lock_promo() -> CTE:
    return (
        select(promo_counters.c.promo_id).where(promo_counters.c.promo_id == _PROMO_ID).with_for_update().cte("promo")
    )


def _count(promo: CTE, changed: CTE, difference: int) -> Select[Any]:
    """Add to like_count if a like was changed. Return the promo in any case."""
    counted = (
        update(promo_counters)
        .where(promo_counters.c.promo_id == changed.c.promo_id)
        .values(like_count=promo_counters.c.like_count + difference)
        .cte("counted")
    )
    return select(promo.c.promo_id).add_cte(counted)


def _like() -> Select[Any]:
    promo = _lock_promo()
    row = select(promo.c.promo_id, _USER_ID, _NOW, bindparam("country", type_=Text))
    liked = insert(likes).from_select(["promo_id", "user_id", "quarter", "country_key"], row)
    return _count(promo, liked.on_conflict_do_nothing().returning(likes.c.promo_id).cte("liked"), 1)


def _unlike() -> Select[Any]:
    promo = _lock_promo()
    unliked = delete(likes).where(likes.c.promo_id == promo.c.promo_id, likes.c.user_id == _USER_ID)
    return _count(promo, unliked.returning(likes.c.promo_id).cte("unliked"), -1)


_LIKE, _UNLIKE = Statement(_like()), Statement(_unlike())


def insert_like(connection: Connection, promo_id: UUID, user_id: UUID, country_key: str) -> bool:
    """Insert a like of a user from a country unless it exists; False: no such promo."""
    values = {"promo": promo_id, "user": user_id, "country": country_key}
    return _LIKE.row(connection, values) is not None


def delete_like(connection: Connection, promo_id: UUID, user_id: UUID) -> bool:
    """Delete a like if it exists; False: no such promo."""
    return _UNLIKE.row(connection, {"promo": promo_id, "user": user_id}) is not None
