"""Likes: at most one per user and promo. The functions of migration 0025 change like_count with them."""

from uuid import UUID

from sqlalchemy import Connection, Text, Uuid, bindparam, func, select

from persistence.database.statements import Statement

_PROMO_ID, _USER_ID = bindparam("promo", type_=Uuid), bindparam("user", type_=Uuid)
_LIKE = Statement(select(func.like_promo(_PROMO_ID, _USER_ID, bindparam("country", type_=Text))))
_UNLIKE = Statement(select(func.unlike_promo(_PROMO_ID, _USER_ID)))


def insert_like(connection: Connection, promo_id: UUID, user_id: UUID, country_key: str) -> bool:
    """Insert a like of a user from a country unless it exists; False: no such promo."""
    return bool(_LIKE.value(connection, {"promo": promo_id, "user": user_id, "country": country_key}))


def delete_like(connection: Connection, promo_id: UUID, user_id: UUID) -> bool:
    """Delete a like if it exists; False: no such promo."""
    return bool(_UNLIKE.value(connection, {"promo": promo_id, "user": user_id}))
