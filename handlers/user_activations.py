"""Activation, the moment the platform exists for, and looking back on it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from functools import partial, wraps
from typing import Any
from uuid import UUID, uuid4

from handlers import Body
from handlers.repeats import Answer, doing, keep_answers, repeatable
from handlers.shapes import Page, card_shape, page, page_limit
from persistence.accounts.users import User
from persistence.activations import Claim, Offer, claim_values, find_offer
from persistence.feeds.user_promos import list_history_promos
from persistence.kept_answers import RepeatKey
from promo_api import metrics
from promo_api.errors import ActivationDenied, KeyTaken, NotFound, Unauthenticated
from promo_api.limits import ACTIVATIONS
from promo_api.runtime import Runtime

# Why not, by reason; the first one that holds is told to those who try.
_REFUSALS = {
    "inactive": "This promo is not active.",
    "not_started": "This promo is not active yet.",
    "expired": "This promo is not active any more.",
    "exhausted": "This promo is not active any more: its last use has gone.",
    "age": "This promo is for users of another age.",
    "country": "This promo is for users of another country.",
}
_KeyedClaim = tuple[Claim, RepeatKey | None]


def _counted(handler: Callable[..., Answer]) -> Callable[..., Answer]:
    """Return the handler, whose outcomes are counted; what is told once more to who repeats a request is none."""

    @wraps(handler)
    def activate(*arguments: Any, **named: Any) -> Answer:
        try:
            answer = handler(*arguments, **named)
        except ActivationDenied as error:
            metrics.activation_refused(error.reason)
            raise
        metrics.activation_granted()
        return answer

    return activate


@repeatable
@_counted
def activate_promo(runtime: Runtime, user: User, *, id: UUID, key: RepeatKey | None) -> Answer:
    """Give the user a value of the promo.

    The claim decides, and comes last: after the cheap checks and the anti-fraud service. Where a verdict of that one is
    kept that allows it, the claim comes first, and what speaks against it is only asked if it has failed.
    """
    runtime.limits.count_for(ACTIVATIONS, user.id)
    today = runtime.today()
    claim = Claim(uuid4(), user.id, user.country_key, user.age), key
    if runtime.antifraud.has_allowed(user.id):
        with suppress(ActivationDenied, KeyTaken, Unauthenticated):
            return runtime.batches.do((id, today, "at once"), claim, partial(_claimed, runtime, id, today))
    for reason in _reasons(_offer(runtime, id, user, today)):
        raise ActivationDenied(reason, _REFUSALS[reason])
    if not runtime.antifraud.allows(user.id, user.email, id):
        raise ActivationDenied("antifraud", "The anti-fraud check did not allow this activation.")
    try:
        return runtime.batches.do((id, today), claim, partial(_activated, runtime, id, today))
    except Unauthenticated:
        # The user has left meanwhile, and what was asked about them has just been kept.
        runtime.antifraud.forget(user.id)
        raise


def get_eligibility(runtime: Runtime, user: User, *, id: UUID) -> Body:
    """Say whether the user could activate the promo now, and all that speaks against it."""
    reasons = _reasons(_offer(runtime, id, user, runtime.today()))
    if runtime.antifraud.has_blocked(user.id):
        reasons.append("blocked")
    return {"eligible": not reasons, "reasons": reasons}


def list_history(runtime: Runtime, user: User, *, limit: int, offset: int) -> Page:
    """List the user's activations, latest first."""
    with runtime.database.autocommit() as connection:
        cards, total = list_history_promos(connection, user.id, runtime.today(), limit=page_limit(limit), offset=offset)
    return page([card_shape(card) for card in cards], total)


def _offer(runtime: Runtime, promo_id: UUID, user: User, today: date) -> Offer:
    with runtime.database.autocommit() as connection:
        offer = find_offer(connection, promo_id, user, today)
    if offer is None:
        raise NotFound("There is no promo of this id.")
    return offer


def _reasons(offer: Offer) -> list[str]:
    return [reason for reason in _REFUSALS if getattr(offer, reason)]


def _activated(
    runtime: Runtime, promo_id: UUID, today: date, claims: Sequence[_KeyedClaim]
) -> Sequence[Answer | Exception]:
    """Activate a promo for all who wait for it; where that can't be done for all, for one after the other."""
    try:
        return _claimed(runtime, promo_id, today, claims)
    except (ActivationDenied, KeyTaken, Unauthenticated):
        if len(claims) == 1:
            raise
    return [_outcome(partial(_claimed, runtime, promo_id, today, [claim])) for claim in claims]


def _claimed(runtime: Runtime, promo_id: UUID, today: date, claims: Sequence[_KeyedClaim]) -> Sequence[Answer]:
    with doing(runtime, *(key for _, key in claims)) as connection:
        values = claim_values(connection, promo_id, [claim for claim, _ in claims], today)
        if not values:
            raise ActivationDenied("exhausted", _REFUSALS["exhausted"])
        answers: list[Answer] = [({"promo": value}, 200) for value in values]
        keep_answers(connection, [(key, answer) for (_, key), answer in zip(claims, answers, strict=True)])
    return answers


def _outcome(attempt: Callable[[], Sequence[Answer]]) -> Answer | Exception:
    try:
        return attempt()[0]
    except Exception as error:  # noqa: BLE001 raised again by the one whose attempt it was
        return error
