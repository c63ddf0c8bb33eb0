"""Likes of the user who asks; to like again, or to unlike what is not liked, changes nothing."""

from uuid import UUID

from handlers import Body
from persistence.likes import delete_like, insert_like
from persistence.users import User
from promo_api.errors import NotFound
from promo_api.limits import LIKES
from promo_api.runtime import Runtime


def like_promo(runtime: Runtime, user: User, *, id: UUID) -> Body:
    """Like a promo."""
    runtime.rate_limits.count_for(LIKES, user.id)
    with runtime.database.autocommit() as connection:
        return _answered(insert_like(connection, id, user.id))


def unlike_promo(runtime: Runtime, user: User, *, id: UUID) -> Body:
    """Take a like back."""
    runtime.rate_limits.count_for(LIKES, user.id)
    with runtime.database.autocommit() as connection:
        return _answered(delete_like(connection, id, user.id))


def _answered(found: bool) -> Body:
    if not found:
        raise NotFound("There is no promo of this id.")
    return {"status": "ok"}
