"""Activation, the moment the platform exists for, and looking back on it."""

from uuid import UUID, uuid4

from handlers import Body
from handlers.shapes import Page, card_shape, page, page_limit
from persistence.activations import Offer, claim_value, find_offer
from persistence.cards import list_history_cards
from persistence.users import User
from promo_api.errors import ActivationDenied, NotFound
from promo_api.runtime import Runtime


def activate_promo(runtime: Runtime, user: User, *, id: UUID) -> Body:
    """Give the user a value of the promo: cheap checks first, then the anti-fraud service, then the claim that
    decides.
    """
    today = runtime.today()
    with runtime.database.autocommit() as connection:
        offer = find_offer(connection, id, user, today)
    mode = _checked(offer).mode
    if not runtime.antifraud.allows(user.id, user.email, id):
        raise ActivationDenied("antifraud", "The anti-fraud check did not allow this activation.")
    with runtime.database.autocommit() as connection:
        value = claim_value(connection, id, user, today, mode=mode, activation_id=uuid4())
    if value is None:
        raise ActivationDenied("exhausted", "The last use of this promo has just gone.")
    return {"promo": value}


def list_history(runtime: Runtime, user: User, *, limit: int, offset: int) -> Page:
    """List the user's activations, latest first."""
    with runtime.database.autocommit() as connection:
        cards, total = list_history_cards(connection, user.id, runtime.today(), limit=page_limit(limit), offset=offset)
    return page([card_shape(card) for card in cards], total)


def _checked(offer: Offer | None) -> Offer:
    if offer is None:
        raise NotFound("There is no promo of this id.")
    if not offer.active:
        raise ActivationDenied("inactive", "This promo is not active.")
    if not offer.fits:
        raise ActivationDenied("targeting", "This promo is for users of another age or country.")
    return offer
