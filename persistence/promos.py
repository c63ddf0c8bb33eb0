"""Promos, as their companies see and write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Date,
    Select,
    Text,
    bindparam,
    case,
    desc,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from persistence.tables import is_active, promo_codes, promo_counters, promos


@dataclass(frozen=True)
class Promo:
    """A promo with all that its company may know.

    None: not given, or not of this mode. `promo_unique` has all values in the order of the creation, issued or not.
    """

    id: UUID
    company_id: UUID
    mode: str
    description: str
    image_url: str | None
    country: str | None
    age_from: int | None
    age_until: int | None
    categories: list[str] | None
    active_from: date | None
    active_until: date | None
    promo_common: str | None
    promo_unique: list[str] | None
    max_count: int
    used_count: int
    like_count: int
    active: bool


_CODES = (
    select(func.array_agg(aggregate_order_by(promo_codes.c.value, promo_codes.c.position)))
    .where(promo_codes.c.promo_id == promo_counters.c.promo_id)
    .scalar_subquery()
)
_DERIVED: dict[str, ColumnElement[Any]] = {
    "promo_unique": case((promos.c.mode == "UNIQUE", _CODES)),
    "max_count": case((promos.c.mode == "UNIQUE", 1), else_=promo_counters.c.use_limit),
    "used_count": promo_counters.c.used_count,
    "like_count": promo_counters.c.like_count,
    "active": is_active(),
}
_PROMOS = select(
    *(_DERIVED[name].label(name) if name in _DERIVED else promos.c[name] for name in Promo.__dataclass_fields__)
).join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
_FIND = _PROMOS.where(promos.c.id == bindparam("id"))
_OWN = promos.c.company_id == bindparam("company_id")
_FITS_COUNTRIES = or_(
    promos.c.country_key.is_(None), promos.c.country_key == func.any(bindparam("country_keys", type_=ARRAY(Text)))
)
_NEWEST = (desc(promos.c.created_at), desc(promos.c.id))
# A missing active_from counts as minus infinity, a missing active_until as plus infinity.
_SORTED = {
    None: _NEWEST,
    "active_from": (desc(promos.c.active_from).nulls_last(), *_NEWEST),
    "active_until": (desc(promos.c.active_until).nulls_first(), *_NEWEST),
}
_INSERT_COUNTERS = insert(promo_counters)
_GIVEN_CODES = (
    func.unnest(bindparam("codes", type_=ARRAY(Text)))
    .table_valued("value", with_ordinality="position")
    .render_derived()
)
_INSERT_CODES = insert(promo_codes).from_select(
    ["promo_id", "position", "value"],
    select(bindparam("promo", type_=promo_codes.c.promo_id.type), _GIVEN_CODES.c.position, _GIVEN_CODES.c.value),
)
_UPDATE_LIMIT = (
    update(promo_counters)
    .where(promo_counters.c.promo_id == bindparam("promo"), promo_counters.c.used_count <= bindparam("limit"))
    .values(use_limit=bindparam("limit"))
    .returning(promo_counters.c.promo_id)
)


def find_promo(connection: Connection, promo_id: UUID, today: date) -> Promo | None:
    """Return the promo, active or not by the business day `today`; None if there is none of this id."""
    row = connection.execute(_FIND, {"id": promo_id, "today": today}).one_or_none()
    return None if row is None else Promo(*row)


def find_promo_owner(connection: Connection, promo_id: UUID) -> UUID | None:
    """Return the id of the promo's company; None if there is no such promo."""
    return connection.execute(select(promos.c.company_id).where(promos.c.id == promo_id)).scalar_one_or_none()


def list_promos(
    connection: Connection,
    company_id: UUID,
    today: date,
    *,
    countries: Sequence[str] | None,
    sort_by: str | None,
    limit: int,
    offset: int,
) -> tuple[list[Promo], int]:
    """Return a page of a company's promos, and how many there are on all pages.

    Args:
        connection: where to run it.
        company_id: whose promos.
        today: the business day that tells what is active.
        countries: only promos for one of these, in any case, or for every country; None: all promos.
        sort_by: `active_from` or `active_until`, the latest first; None, and among equals: newest created first.
        limit: promos on the page at most.
        offset: promos before the page.
    """
    matching: list[ColumnElement[bool]] = [_OWN]
    values: dict[str, Any] = {"company_id": company_id}
    if countries is not None:
        matching.append(_FITS_COUNTRIES)
        values["country_keys"] = [country.casefold() for country in countries]
    total = connection.execute(select(func.count()).select_from(promos).where(*matching), values).scalar_one()
    page: Select[Any] = _PROMOS.where(*matching).order_by(*_SORTED[sort_by]).limit(limit).offset(offset)
    rows = connection.execute(page, {**values, "today": today}) if limit else ()
    return [Promo(*row) for row in rows], total


def insert_promo(
    connection: Connection, promo_id: UUID, values: Mapping[str, Any], *, use_limit: int, codes: Sequence[str] | None
) -> None:
    """Insert a promo with its counters and codes; to be run in one transaction.

    Args:
        connection: where to run it.
        promo_id: the id to give it.
        values: columns of promos; the case-folded keys of country and categories are added.
        use_limit: how many activations it allows.
        codes: the values of a UNIQUE promo in their order; None for a COMMON one.
    """
    connection.execute(insert(promos), {"id": promo_id, **values, **_keys(values)})
    connection.execute(_INSERT_COUNTERS, {"promo_id": promo_id, "use_limit": use_limit})
    if codes is not None:
        connection.execute(_INSERT_CODES, {"promo": promo_id, "codes": list(codes)})


def update_use_limit(connection: Connection, promo_id: UUID, use_limit: int) -> bool:
    """Set how many activations a promo allows; False, and nothing changed, if there have been more already."""
    return connection.execute(_UPDATE_LIMIT, {"promo": promo_id, "limit": use_limit}).one_or_none() is not None


def update_promo(connection: Connection, promo_id: UUID, changes: Mapping[str, Any]) -> bool:
    """Change the definition of a promo.

    Args:
        connection: where to run it.
        promo_id: the promo, which must exist.
        changes: one or more columns of promos; country and categories come together, their keys are added.

    Returns:
        False, and nothing changed, if its period would end before it begins.
    """
    begins, ends = _after("active_from", changes), _after("active_until", changes)
    statement = (
        update(promos)
        .where(promos.c.id == promo_id, or_(begins.is_(None), ends.is_(None), begins <= ends))
        .values(**changes, **_keys(changes))
        .returning(promos.c.id)
    )
    return connection.execute(statement).one_or_none() is not None


def _after(name: str, changes: Mapping[str, Any]) -> ColumnElement[Any]:
    return literal(changes[name], Date) if name in changes else promos.c[name]


def _keys(values: Mapping[str, Any]) -> dict[str, Any]:
    if "categories" not in values:
        return {}
    country, categories = values["country"], values["categories"]
    return {
        "country_key": country and country.casefold(),
        "category_keys": [category.casefold() for category in categories or ()],
    }
