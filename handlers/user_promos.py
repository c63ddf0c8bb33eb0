"""The promos that a user comes across."""

from uuid import UUID

from handlers import Body
from handlers.shapes import Page, card_shape, page, page_limit
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
    """List the promos whose targeting fits the user."""
    today = runtime.today()
    with runtime.database.autocommit() as connection:
        total = count_feed(connection, user, today, category=category, active=active)
        # The feed reads entries until its page is full, so it must not look for more than there are.
        most = min(page_limit(limit), total - offset)
        cards = list_feed_promos(
            connection, user, today, category=category, active=active, total=total, limit=most, offset=offset
        )
    return page([card_shape(card) for card in cards], total)


def get_promo(runtime: Runtime, user: User, *, id: UUID) -> Body:
    """Return a promo, whoever it targets."""
    with runtime.database.autocommit() as connection:
        card = find_promo_for_user(connection, id, user.id, runtime.today())
    if card is None:
        raise NotFound("There is no promo of this id.")
    return card_shape(card)
