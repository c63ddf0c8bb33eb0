"""Activation of promos, eligibility, and the lists of activations."""

from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from handlers import Body
from handlers.idempotency import Response, connect, idempotent, store_responses
from handlers.pages import PageRequest, paged, serialize_page
from handlers.replica_reads import reads_replica
from handlers.serializers import serialize_activation, serialize_promo_for_user
from persistence.accounts.own_activations import list_activations as list_user_activations
from persistence.accounts.users import User
from persistence.activations import Claim, claim_values, find_refusal_reasons
from persistence.feeds.user_promos import list_history_promos
from persistence.idempotency import IdempotencyKey
from persistence.pages import Page
from promo_api.errors import ActivationDenied, AntifraudUnavailable, ConcurrentRequest, NotFound
from promo_api.runtime import Runtime
from promo_api.telemetry import metrics

# The code and the message of each reason.
_REFUSALS = {
    "archived": ("promo_archived", "The company has ended this promo."),
    "paused": ("promo_paused", "The company has paused this promo. Try again later."),
    "inactive": ("promo_inactive", "This promo is not active."),
    "not_started": ("promo_not_started", "This promo has not started yet."),
    "expired": ("promo_expired", "This promo has expired."),
    "exhausted": ("promo_exhausted", "This promo has been used up."),
    "age": ("user_age", "This promo is not available for your age."),
    "country": ("user_country", "This promo is not available in your country."),
    "user_limit": ("user_limit", "You have activated this promo as many times as one user may."),
    "blocked": ("antifraud_denied", "The anti-fraud check denied this activation."),
    "antifraud_unavailable": ("antifraud_unavailable", "The anti-fraud service did not respond. Try again later."),
}


class _KeyedClaim(NamedTuple):
    """A claim and its idempotency key."""

    claim: Claim
    key: IdempotencyKey | None


@idempotent
def activate_promo(runtime: Runtime, user: User, *, id: UUID, key: IdempotencyKey | None) -> Response:
    """Grant the user one use of the promo and return its value.

    With a cached verdict, the claim comes first: one round trip to Redis and one statement grant most activations.
    """
    is_allowed = runtime.rate_limits.count_activation(user.id)
    today = runtime.today()
    claim = _KeyedClaim(Claim(uuid4(), user.id, user.country_key, user.age), key)

    response = _claim_with_others(runtime, id, today, claim) if is_allowed else None
    if response is None:
        reasons = _list_refusal_reasons(runtime, id, user, today)
        if is_allowed is False:
            reasons.append("blocked")
        if reasons:
            raise _denied(reasons)
        try:
            is_allowed = runtime.antifraud.check(user.id, user.email, id)
        except AntifraudUnavailable as error:
            raise _denied(["antifraud_unavailable"], error.retry_after_s) from None
        if not is_allowed:
            raise _denied(["blocked"])
        response = _claim_with_others(runtime, id, today, claim) or _claim_alone(runtime, id, today, claim)
    if response is None:
        # Another request took the last use or changed the promo.
        raise _denied(_list_refusal_reasons(runtime, id, user, today) or ["exhausted"])
    metrics.activation_granted()
    return response


def get_eligibility(runtime: Runtime, user: User, *, id: UUID) -> Body:
    """Return whether the user could activate the promo, and all reasons why not."""
    reasons = _list_refusal_reasons(runtime, id, user, runtime.today())
    if runtime.antifraud.is_blocked(user.id):
        reasons.append("blocked")
    return {"eligible": not reasons, "reasons": reasons}


@paged
@reads_replica
def list_activations(_runtime: Runtime, user: User, *, page: PageRequest, connection: Any) -> Page[Body]:
    """List the user's activations with their codes, latest first."""
    activations = list_user_activations(connection, user.id, **vars(page))
    return serialize_page(activations, serialize_activation)


@paged
@reads_replica
def list_history(runtime: Runtime, user: User, *, page: PageRequest, connection: Any) -> Page[Body]:
    """List the promos of the user's activations, latest first."""
    promos = list_history_promos(connection, user.id, runtime.today(), **vars(page))
    return serialize_page(promos, serialize_promo_for_user)


def _list_refusal_reasons(runtime: Runtime, promo_id: UUID, user: User, today: date) -> list[str]:
    with runtime.database.autocommit() as connection:
        reasons = find_refusal_reasons(connection, promo_id, user, today)
    if reasons is None:
        raise NotFound.promo()
    return reasons


def _denied(reasons: Sequence[str], retry_after_s: int | None = None) -> ActivationDenied:
    """Return the error, with the code and the message of the first reason."""
    metrics.activation_refused(reasons[0])
    code, message = _REFUSALS[reasons[0]]
    return ActivationDenied(message, code=code, reasons=reasons, retry_after_s=retry_after_s)


def _claim_with_others(runtime: Runtime, promo_id: UUID, today: date, claim: _KeyedClaim) -> Response | None:
    """Claim a use in one statement with concurrent requests; None: one refused claim fails them all."""
    process = partial(_claim_batch, runtime, promo_id, today)
    return runtime.coalescer.submit((promo_id, today), claim, process)


def _claim_batch(
    runtime: Runtime, promo_id: UUID, today: date, claims: Sequence[_KeyedClaim]
) -> Sequence[Response | None]:
    """Return the responses; all None: the statement granted nothing."""
    try:
        return _claim_all_or_none(runtime, promo_id, today, claims) or [None] * len(claims)
    except ConcurrentRequest:
        return [None] * len(claims)


def _claim_alone(runtime: Runtime, promo_id: UUID, today: date, claim: _KeyedClaim) -> Response | None:
    """Claim a use; None: it was refused. Raise ConcurrentRequest."""
    responses = _claim_all_or_none(runtime, promo_id, today, [claim])
    return responses[0] if responses else None


def _claim_all_or_none(runtime: Runtime, promo_id: UUID, today: date, claims: Sequence[_KeyedClaim]) -> list[Response]:
    """Claim all uses and store the responses in one transaction. Empty: none was granted."""
    with connect(runtime, *(key for _, key in claims)) as connection:
        values = claim_values(connection, promo_id, [claim for claim, _ in claims], today)
        responses: list[Response] = [({"promo": value}, 200) for value in values]
        store_responses(connection, [(key, response) for (_, key), response in zip(claims, responses, strict=False)])
    return responses
