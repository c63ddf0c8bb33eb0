"""Promos of a company."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID, uuid4

from handlers import Body
from handlers.idempotency import Response, connect, idempotent, store_responses
from handlers.pages import PageRequest, paged, serialize_page
from handlers.promo_changes import CONFLICT, ENDS_TOO_EARLY, change_promo
from handlers.promo_owners import check_owner, find_own_promo
from handlers.replica_reads import reads_replica
from handlers.serializers import serialize_change, serialize_promo
from handlers.versions import read_if_match, versioned
from persistence.accounts.companies import Company, claim_company
from persistence.activations import list_country_uses
from persistence.idempotency import IdempotencyKey
from persistence.pages import Page
from persistence.promos.changes import list_changes as list_promo_changes
from persistence.promos.code_search import insert_code_lookup
from persistence.promos.promos import (
    Promo,
    find_promo_owner,
    insert_promo,
    list_promos as list_company_promos,
)
from persistence.redemptions import count_redemptions
from promo_api.errors import InvalidInput, Unauthenticated
from promo_api.runtime import Runtime
from promo_api.security.rate_limits import CODES, PROMOS
from promo_api.specification import MAX_LISTED_CODES, PROMO_MEMBERS

# Members that are columns.
_PLAIN_MEMBERS = (
    "description", "image_url", "paused", "archived", "max_per_user", "comments_enabled", "low_stock_percent",
    "activation_events",
)  # fmt: skip
_LIMIT_OF_UNIQUE = "must be 1 for a UNIQUE promo; to stop the promo, set paused to true"


@idempotent
def create_promo(runtime: Runtime, company: Company, *, body: Body, key: IdempotencyKey | None) -> Response:
    """Create a promo."""
    definition = _read_definition(body)
    if _is_reversed(definition["active_from"], definition["active_until"]):
        raise InvalidInput.body("/active_until", ENDS_TOO_EARLY)
    codes = body.get("promo_unique")
    runtime.rate_limits.count_for(PROMOS, company.id)
    runtime.rate_limits.count_for(CODES, company.id, len(codes or ()))
    promo_id = uuid4()
    values = {**definition, "company_id": company.id, "mode": body["mode"], "promo_common": body.get("promo_common")}
    # A UNIQUE promo allows one use per code.
    use_limit = body["max_count"] if codes is None else len(codes)
    with connect(runtime, key) as connection:
        if not insert_promo(connection, promo_id, values, runtime.today(), use_limit=use_limit, codes=codes):
            raise Unauthenticated.account_deleted()
        insert_code_lookup(connection, company.id, promo_id, [body["promo_common"]] if codes is None else codes)
        response = {"id": promo_id}, 201
        store_responses(connection, [(key, response)])
    return response


@paged
@reads_replica
def list_promos(  # noqa: PLR0913 the filters are parameters
    runtime: Runtime,
    company: Company,
    *,
    connection: Any,
    page: PageRequest,
    country: list[str] | None = None,
    state: list[str] | None = None,
    mode: str | None = None,
    q: str | None = None,
    sort_by: str | None = None,
) -> Page[Body]:
    """List the promos of the company, each with its first codes."""
    promos = list_company_promos(
        connection,
        company.id,
        runtime.today(),
        countries=country,
        states=state,
        mode=mode,
        search=q,
        sort_by=sort_by,
        **vars(page),
    )
    entries = _serialize_promos(runtime, connection, company, promos.entries, MAX_LISTED_CODES)
    return Page(entries, promos.total, promos.next_key)


@versioned(PROMO_MEMBERS)
@reads_replica
def get_promo(runtime: Runtime, company: Company, *, id: UUID, connection: Any) -> Body:
    """Return a promo of the company."""
    return _read_promo(runtime, connection, company, id)


@versioned(PROMO_MEMBERS)
def update_promo(runtime: Runtime, company: Company, *, id: UUID, body: Body, if_match: str | None = None) -> Body:
    """Change members of a promo; the target is replaced as a whole, and null removes a value."""
    values, use_limit = _read_values(body), body.get("max_count")
    if _is_reversed(values.get("active_from"), values.get("active_until")):
        raise InvalidInput.body("/active_until", ENDS_TOO_EARLY)
    # Without a lock, because the owner and the mode never change.
    with runtime.database.autocommit() as connection:
        promo = find_own_promo(connection, id, company, runtime.today())
    if promo.mode == "UNIQUE" and use_limit not in (None, 1):
        raise InvalidInput.body("/max_count", _LIMIT_OF_UNIQUE, code=CONFLICT)
    if use_limit is not None:
        values["max_count"] = use_limit
    with runtime.database.transaction() as connection:
        if not claim_company(connection, company.id):
            raise Unauthenticated.account_deleted()
        change_promo(connection, id, values, runtime.today(), read_if_match(if_match))
    with runtime.database.autocommit() as connection:
        return _read_promo(runtime, connection, company, id)


@paged
def list_changes(runtime: Runtime, company: Company, *, id: UUID, page: PageRequest) -> Page[Body]:
    """List the audit log of a promo."""
    with runtime.database.autocommit() as connection:
        check_owner(find_promo_owner(connection, id), company)
        changes = list_promo_changes(connection, id, **vars(page))
    return serialize_page(changes, serialize_change)


@reads_replica
def get_promo_stat(_runtime: Runtime, company: Company, *, id: UUID, connection: Any) -> Body:
    """Return the activations and redemptions of a promo, in total and by country."""
    check_owner(find_promo_owner(connection, id), company)
    uses, redeemed = list_country_uses(connection, id), count_redemptions(connection, id)
    return {
        "activations_count": sum(use.activations_count for use in uses),
        "countries": [vars(use) | _count(redeemed.get(use.country)) for use in uses],
        **_count(sum(redeemed.values())),
    }


def _count(redemptions: int | None) -> Body:
    """Return the member with the number of redemptions; none without any."""
    return {"redemptions_count": redemptions} if redemptions else {}


def _read_promo(runtime: Runtime, connection: Any, company: Company, promo_id: UUID) -> Body:
    promo = find_own_promo(connection, promo_id, company, runtime.today())
    return _serialize_promos(runtime, connection, company, [promo])[0]


def _serialize_promos(
    runtime: Runtime, connection: Any, company: Company, promos: Sequence[Promo], codes_max: int | None = None
) -> list[Body]:
    unique = [promo.id for promo in promos if promo.mode == "UNIQUE"]
    code_lists = runtime.code_lists.find_lists(connection, unique, first=codes_max)
    return [serialize_promo(promo, company.name, code_lists.get(promo.id)) for promo in promos]


def _read_definition(body: Body) -> dict[str, Any]:
    """Return the changeable columns of a new promo; None for members that are left out."""
    names = ("description", "image_url", "target", "active_from", "active_until", "max_per_user", "low_stock_percent")
    definition = _read_values({name: body.get(name) for name in names})
    flags = {"comments_enabled": True, "activation_events": False}
    return {**definition, **{name: body.get(name, default) for name, default in flags.items()}}


def _read_values(body: Body) -> dict[str, Any]:
    """Return the columns for the members of the body."""
    values: dict[str, Any] = {name: body[name] for name in _PLAIN_MEMBERS if name in body}
    for name in ("active_from", "active_until"):
        if name in body:
            values[name] = body[name] and date.fromisoformat(body[name])
    if "target" in body:
        values.update(_read_target(body["target"]))
    return values


def _read_target(target: Body) -> dict[str, Any]:
    columns = {name: target.get(name) for name in ("country", "age_from", "age_until", "categories")}
    if _is_reversed(columns["age_from"], columns["age_until"]):
        raise InvalidInput.body("/target/age_until", "must not be less than age_from")
    return columns


def _is_reversed(first: Any, last: Any) -> bool:
    return first is not None and last is not None and first > last
