"""The feed of a user, and single promos."""

from uuid import UUID

from handlers import Body
from handlers.pages import PageRequest, paged, serialize_page
from handlers.serializers import serialize_promo_for_user
from persistence.accounts.users import User
from persistence.feeds.feed_counts import count_feed
from persistence.feeds.feed_filters import FeedFilters
from persistence.feeds.user_promos import find_promo_for_user, list_feed_promos, list_filtered_promos
from persistence.pages import Page
from promo_api.errors import NotFound
from promo_api.runtime import Runtime


@paged
def list_feed(
    runtime: Runtime,
    user: User,
    *,
    page: PageRequest,
    category: str | None = None,
    active: bool | None = None,
    company_id: UUID | None = None,
    liked: bool = False,
    q: str | None = None,
) -> Page[Body]:
    """List the promos that target the user."""
    today = runtime.today()
    with runtime.database.autocommit() as connection:
        if liked or company_id is not None or q is not None:
            filters = FeedFilters(category, active, company_id, liked, q)
            promos = list_filtered_promos(connection, user, today, filters=filters, **vars(page))
            return serialize_page(promos, serialize_promo_for_user)
        total = count_feed(connection, user, today, category=category, active=active)
        promos = list_feed_promos(connection, user, today, category=category, active=active, total=total, **vars(page))
    return serialize_page(promos, serialize_promo_for_user)


def get_promo(runtime: Runtime, user: User, *, id: UUID) -> Body:
    """Return a promo, regardless of its target."""
    with runtime.database.autocommit() as connection:
        promo = find_promo_for_user(connection, id, user.id, runtime.today())
    if promo is None:
        raise NotFound.promo()
    return serialize_promo_for_user(promo)
