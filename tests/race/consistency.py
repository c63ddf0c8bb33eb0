"""Compares the counters of a promo with its rows."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Table, func, literal_column, select, true

from persistence.database.engine import Database
from persistence.database.statements import is_distributed
from persistence.schema.activity_tables import promo_activity, redemption_activity
from persistence.schema.redemption_tables import IS_CONFIRMED, redemptions
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
    """Assert that the counters and the activity of a promo equal its rows; return the counters."""
    promo = UUID(promo_id)
    _assert_activity(database, promo)

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
        # Several servers do not store these counts: see persistence.user_uses.
        assert is_distributed(connection) or sorted(
            connection.execute(stored_by_user.where(user_uses.c.user_id.in_(user_ids)))
        ) == sorted(connection.execute(rows_by_user.group_by(activations.c.user_id)))
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


def _assert_activity(database: Database, promo: UUID) -> None:
    """Assert that the activity of a promo equals its rows in each quarter of an hour and country."""
    recounts: dict[str, tuple[Table, Table, ColumnElement[Any], ColumnElement[bool]]] = {
        "activations": (promo_activity, activations, activations.c.activated_at, true()),
        "likes": (promo_activity, likes, likes.c.quarter, true()),
        "comments": (promo_activity, comments, comments.c.created_at, true()),
        "redemptions": (redemption_activity, redemptions, redemptions.c.confirmed_at, IS_CONFIRMED),
    }
    with database.autocommit() as connection:
        for name, (activity, rows, time, condition) in recounts.items():
            number = func.sum(activity.c[name])
            stored = select(activity.c.quarter, activity.c.country_key, number).where(activity.c.promo_id == promo)
            stored = stored.group_by(activity.c.quarter, activity.c.country_key).having(number != 0)
            keys = (func.quarter_of(time), func.coalesce(rows.c.country_key, literal_column("''")))
            counted = select(*keys, func.count()).where(rows.c.promo_id == promo, condition).group_by(*keys)
            assert sorted(connection.execute(stored)) == sorted(connection.execute(counted)), name
