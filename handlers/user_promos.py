"""The feed of a user, and single promos."""

from typing import Any
from uuid import UUID

from handlers import Body
from handlers.pages import PageRequest, paged, serialize_page
from handlers.replica_reads import reads_replica
from handlers.serializers import serialize_promo_for_user
from persistence.accounts.users import User
from persistence.feeds.feed_counts import count_feed
from persistence.feeds.feed_filters import FeedFilters
from persistence.feeds.user_promos import find_promo_for_user, list_feed_promos, list_filtered_promos
from persistence.pages import Page
from promo_api.errors import NotFound
from promo_api.runtime import Runtime


@paged
@reads_replica
def list_feed(  # noqa: PLR0913 the filters are parameters
    runtime: Runtime,
    user: User,
    *,
    connection: Any,
    page: PageRequest,
    category: str | None = None,
    active: bool | None = None,
    company_id: UUID | None = None,
    liked: bool = False,
    q: str | None = None,
) -> Page[Body]:
    """List the promos that target the user."""
    today = runtime.today()
    if liked or company_id is not None or q is not None:
        filters = FeedFilters(category, active, company_id, liked, q)
        promos = list_filtered_promos(connection, user, today, filters=filters, **vars(page))
        return serialize_page(promos, serialize_promo_for_user)
    total = count_feed(connection, user, today, category=category, active=active)
    promos = list_feed_promos(connection, user, today, category=category, active=active, total=total, **vars(page))
    return serialize_page(promos, serialize_promo_for_user)


@reads_replica
def get_promo(runtime: Runtime, user: User, *, id: UUID, connection: Any) -> Body:
    """Return a promo, regardless of its target."""
    promo = find_promo_for_user(connection, id, user.id, runtime.today())
    if promo is None:
        raise NotFound.promo()
    return serialize_promo_for_user(promo)
