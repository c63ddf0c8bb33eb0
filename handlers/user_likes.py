"""Likes of a user. Liking twice, or unliking a promo that is not liked, changes nothing."""

from uuid import UUID

from handlers import Body
from persistence.accounts.users import User
from persistence.likes import delete_like, insert_like
from promo_api.errors import NotFound
from promo_api.runtime import Runtime
from promo_api.security.rate_limits import LIKES


def like_promo(runtime: Runtime, user: User, *, id: UUID) -> Body:
    """Like a promo."""
    runtime.rate_limits.count_for(LIKES, user.id)
    with runtime.database.autocommit() as connection:
        return _response(insert_like(connection, id, user.id, user.country_key))


def unlike_promo(runtime: Runtime, user: User, *, id: UUID) -> Body:
    """Remove a like."""
    runtime.rate_limits.count_for(LIKES, user.id)
    with runtime.database.autocommit() as connection:
        return _response(delete_like(connection, id, user.id))


def _response(found: bool) -> Body:
    if not found:
        raise NotFound.promo()
    return {"status": "ok"}
