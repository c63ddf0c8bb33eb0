"""Compares the counters of a promo with its rows."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Table, func, select

from persistence.database.engine import Database
from persistence.schema.tables import (
    activations,
    comments,
    country_uses,
    likes,
    promo_codes,
    promo_counters,
    user_uses,
    users,
)


class Counts(NamedTuple):
    """The counters of a promo."""

    uses: int
    likes: int
    comments: int


def recounted(database: Database, promo_id: str) -> Counts:
    """Assert that the counters of a promo equal its rows and respect its limit, and return them."""
    promo = UUID(promo_id)

    def rows(table: Table, *conditions: ColumnElement[bool]) -> int:
        statement = select(func.count()).select_from(table).where(table.c.promo_id == promo, *conditions)
        return int(connection.execute(statement).scalar_one())

    with database.autocommit() as connection:
        counters = connection.execute(select(promo_counters).where(promo_counters.c.promo_id == promo)).one()
        counts = Counts(counters.used_count, counters.like_count, counters.comment_count)
        assert counts == Counts(rows(activations), rows(likes), rows(comments))
        assert counters.used_count <= counters.use_limit
        rows_by_country = select(activations.c.country_key, func.count()).where(activations.c.promo_id == promo)
        stored_by_country = select(country_uses.c.country_key, country_uses.c.activations_count)
        assert sorted(connection.execute(stored_by_country.where(country_uses.c.promo_id == promo))) == sorted(
            connection.execute(rows_by_country.group_by(activations.c.country_key))
        )
        real_users = select(users.c.id).where(users.c.email_key.is_not(None))  # not the placeholders of deleted ones
        user_ids = select(activations.c.user_id).where(
            activations.c.promo_id == promo, activations.c.user_id.in_(real_users)
        )
        rows_by_user = select(activations.c.user_id, func.count()).where(activations.c.user_id.in_(user_ids))
        stored_by_user = select(user_uses.c.user_id, user_uses.c.activations_count)
        assert sorted(connection.execute(stored_by_user.where(user_uses.c.user_id.in_(user_ids)))) == sorted(
            connection.execute(rows_by_user.group_by(activations.c.user_id))
        )
        if rows(promo_codes):
            issued = select(promo_codes.c.activation_id).where(
                promo_codes.c.promo_id == promo, promo_codes.c.activation_id.is_not(None)
            )
            recorded = select(activations.c.id).where(activations.c.promo_id == promo)
            assert sorted(connection.scalars(issued)) == sorted(connection.scalars(recorded))
            assert (
                rows(promo_codes, promo_codes.c.position > counts.uses, promo_codes.c.activation_id.is_not(None)) == 0
            )
    return counts
