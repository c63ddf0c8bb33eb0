"""Redemption of issued codes: a code is redeemed at most once for each activation."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from handlers import Body
from handlers.idempotency import Response, connect, idempotent, store_responses
from handlers.pages import PageRequest, paged, serialize_page
from handlers.replica_reads import reads_replica
from handlers.serializers import serialize_redemption
from persistence.accounts.companies import Company, KeyCompany
from persistence.idempotency import IdempotencyKey
from persistence.pages import Page
from persistence.promos.code_search import IssuedCode, find_codes
from persistence.redemptions import (
    CodePlace,
    NewRedemption,
    Redemption,
    claim_redemptions,
    find_redemption,
    insert_redemption_lookup,
    list_redemptions as list_company_redemptions,
    update_redemption,
)
from promo_api.code_jobs.code_rules import BLANKS
from promo_api.errors import ConcurrentRequest, NotFound, RedemptionRefused
from promo_api.runtime import Runtime
from promo_api.specification import MAX_CANDIDATES
from promo_api.telemetry import metrics

# In the order in which they are returned.
_MESSAGES = {
    "unknown_code": "The company has no such code.",
    "ambiguous_code": "Several promos have this code. Repeat the request with the `promo_id` of one of `candidates`.",
    "held": "Another redemption holds this code. Try again when it has ended.",
    "already_redeemed": "This code has been redeemed.",
    "not_issued": "No activation has issued this code.",
}
_STATE_MESSAGES = {
    "confirmed": "Only a held redemption can be confirmed, or an expired one if the code is still free.",
    "released": "Only a held redemption can be released.",
    "voided": "Only a confirmed redemption can be voided.",
}
# Also the end of a line, which scanners add.
_BLANKS = f"{BLANKS}\r\n"
# An attempt fails only if another request has redeemed or held the code meanwhile.
_ATTEMPTS = 200


class _Decision(NamedTuple):
    """The code to redeem, or the reasons against it.

    Attributes:
        found: all codes that the request may mean.
        candidates: the promos with this code.
    """

    found: Sequence[IssuedCode]
    code: IssuedCode | None
    reasons: list[str]
    candidates: list[UUID]


class _KeyedRedemption(NamedTuple):
    """A new redemption and its idempotency key."""

    new: NewRedemption
    key: IdempotencyKey | None


def validate_code(runtime: Runtime, company: Company, *, body: Body) -> Body:
    """Return whether a code could be redeemed now."""
    decision = _find(runtime, company, body)
    response: Body = {"valid": decision.code is not None, "reasons": decision.reasons}
    if decision.code is not None or len(decision.candidates) == 1:
        promo = decision.code or decision.found[0]
        response["promo"] = {"promo_id": promo.promo_id, "mode": promo.mode, "description": promo.description}
    elif decision.candidates:
        response["candidates"] = decision.candidates
    return response


@idempotent
def create_redemption(runtime: Runtime, company: Company, *, body: Body, key: IdempotencyKey | None) -> Response:
    """Redeem a code, or hold it."""
    redemption = _KeyedRedemption(NewRedemption(uuid4(), body.get("order_ref"), body.get("hold_s")), key)
    for _ in range(_ATTEMPTS):
        decision = _find(runtime, company, body, redemption.new.id)
        if decision.code is None:
            break
        response = _redeem(runtime, company, decision.code, redemption)
        if response is not None:
            metrics.redemption(response[0]["state"])
            return response
    raise _refused(decision)


@paged
@reads_replica
def list_redemptions(
    _runtime: Runtime,
    company: Company,
    *,
    connection: Any,
    page: PageRequest,
    promo_id: UUID | None = None,
    order_ref: str | None = None,
    state: str | None = None,
) -> Page[Body]:
    """List the redemptions of the company, newest first."""
    redemptions = list_company_redemptions(
        connection,
        company.id,
        promo_id=promo_id,
        order_ref=order_ref,
        state=state,
        limit=page.limit,
        after=page.after,
    )
    return serialize_page(redemptions, serialize_redemption)


def get_redemption(runtime: Runtime, company: Company, *, id: UUID) -> Body:
    """Return a redemption."""
    with runtime.database.autocommit() as connection:
        return serialize_redemption(_find_own(connection, company, id))


def confirm_redemption(runtime: Runtime, company: Company, *, id: UUID) -> Body:
    """Redeem a held code."""
    return _change(runtime, company, id, "confirmed")


def release_redemption(runtime: Runtime, company: Company, *, id: UUID) -> Body:
    """End the hold of a code."""
    return _change(runtime, company, id, "released")


def void_redemption(runtime: Runtime, company: Company, *, id: UUID) -> Body:
    """Undo the redemption of a code."""
    return _change(runtime, company, id, "voided")


def _find_own(connection: Any, company: Company, redemption_id: UUID) -> Redemption:
    redemption = find_redemption(connection, company.id, redemption_id)
    if redemption is None:
        raise NotFound.redemption()
    return redemption


def _find(runtime: Runtime, company: Company, body: Body, redemption_id: UUID | None = None) -> _Decision:
    """Find the code that the request means, and let a new redemption of it be found by its id.

    A company or key that tries too many unknown codes is refused: each worker learns this from its next unknown code,
    so known codes cost no round trip to Redis.
    """
    key_id = company.key_id if isinstance(company, KeyCompany) else None
    counters = runtime.rate_limits.unknown_codes(company.id, key_id)
    runtime.rate_limits.check_locally(counters)
    promo_id = UUID(body["promo_id"]) if "promo_id" in body else None
    with runtime.database.autocommit() as connection:
        codes = find_codes(
            connection, company.id, body["code"].strip(_BLANKS), promo_id, order_ref=body.get("order_ref")
        )
        decision = _decide(codes, body)
        if redemption_id is not None and decision.code is not None:
            # Before the redemption, whose transaction needs one server then.
            insert_redemption_lookup(connection, company.id, decision.code.promo_id, redemption_id)
    if not codes:
        runtime.rate_limits.count_unknown_code(counters)
    return decision


def _decide(codes: Sequence[IssuedCode], body: Body) -> _Decision:
    if not codes:
        return _Decision(codes, None, ["unknown_code"], [])
    free = [code for code in codes if code.reason is None]
    free = [code for code in free if code.is_own_hold] or free
    candidates = sorted({code.promo_id for code in free or codes})[:MAX_CANDIDATES]
    if not free:
        reasons = {code.reason for code in codes}
        return _Decision(codes, None, [reason for reason in _MESSAGES if reason in reasons], candidates)
    if len(candidates) > 1:
        return _Decision(codes, None, ["ambiguous_code"], candidates)
    entered = body["code"].strip(_BLANKS)
    return _Decision(codes, min(free, key=lambda code: (code.value != entered, code.position or 0)), [], candidates)


def _refused(decision: _Decision) -> RedemptionRefused:
    # Without a reason, other requests have won each attempt.
    reason = decision.reasons[0] if decision.reasons else "held"
    metrics.redemption(reason)
    candidates = decision.candidates if reason == "ambiguous_code" else ()
    return RedemptionRefused(_MESSAGES[reason], code=reason, candidates=candidates)


def _redeem(runtime: Runtime, company: Company, code: IssuedCode, redemption: _KeyedRedemption) -> Response | None:
    """Redeem the code; None: another request has redeemed or held it."""
    process = partial(_redeem_all, runtime, company.id, code)
    if code.position is None:
        try:
            # One transaction for concurrent requests, because they would wait for each other.
            return runtime.coalescer.submit(("redemption", code.promo_id), redemption, process)
        except ConcurrentRequest:
            pass
    return process([redemption])[0]


def _redeem_all(
    runtime: Runtime, company_id: UUID, code: IssuedCode, redemptions: Sequence[_KeyedRedemption]
) -> list[Response | None]:
    """Redeem the code for each, and store the responses in the same transaction."""
    place = CodePlace(code.promo_id, code.position, code.value)
    with connect(runtime, *(key for _, key in redemptions)) as connection:
        claimed = claim_redemptions(connection, company_id, place, [new for new, _ in redemptions])
        responses = [_respond(each) for each in claimed]
        stored = [
            (key, response) for (_, key), response in zip(redemptions, responses, strict=True) if response is not None
        ]
        store_responses(connection, stored)
    return responses


def _respond(redemption: Redemption | None) -> Response | None:
    return None if redemption is None else (serialize_redemption(redemption), 201)


def _change(runtime: Runtime, company: Company, redemption_id: UUID, state: str) -> Body:
    with runtime.database.autocommit() as connection:
        changed = update_redemption(connection, _find_own(connection, company, redemption_id), state)
    if changed is None:
        raise RedemptionRefused(_STATE_MESSAGES[state])
    metrics.redemption(changed.state)
    return serialize_redemption(changed)
