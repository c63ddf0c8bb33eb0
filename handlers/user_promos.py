"""The feed of a user, and single promos."""

from uuid import UUID

from handlers import Body
from handlers.serializers import Page, page, page_limit, serialize_promo_for_user
from persistence.accounts.users import User
from persistence.feeds.feed_counts import count_feed
from persistence.feeds.user_promos import find_promo_for_user, list_feed_promos
from promo_api.errors import NotFound
from promo_api.runtime import Runtime


def list_feed(
    runtime: Runtime,
    user: User,
    *,
    limit: int,
    offset: int,
    category: str | None = None,
    active: bool | None = None,
) -> Page:
    """List the promos that target the user."""
    today = runtime.today()
    with runtime.database.autocommit() as connection:
        total = count_feed(connection, user, today, category=category, active=active)
        # A larger limit would scan the rest of the index for another row.
        rows_max = min(page_limit(limit), total - offset)
        promos = list_feed_promos(
            connection, user, today, category=category, active=active, total=total, limit=rows_max, offset=offset
        )
    return page([serialize_promo_for_user(promo) for promo in promos], total)


def get_promo(runtime: Runtime, user: User, *, id: UUID) -> Body:
    """Return a promo, regardless of its target."""
    with runtime.database.autocommit() as connection:
        promo = find_promo_for_user(connection, id, user.id, runtime.today())
    if promo is None:
        raise NotFound.promo()
    return serialize_promo_for_user(promo)
