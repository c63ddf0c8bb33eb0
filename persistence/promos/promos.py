"""Promos, as their companies see and write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert

from persistence.conditions import is_active
from persistence.database.statements import Statement, lateral_join
from persistence.feeds.feed_entries import listing
from persistence.pages import Pages, Window
from persistence.schema.audit_tables import promo_changes
from persistence.schema.orders import company_order
from persistence.schema.tables import TARGET_KEY, company_promo_counts, promo_codes, promo_counters, promos


@dataclass(frozen=True)
class Promo:
    """A promo with all that its company may know but the list of a UNIQUE one, which persistence.promos.code_lists has.

    None: not given, or not of this mode.
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
    codes_count: int | None
    max_count: int
    used_count: int
    like_count: int
    active: bool


_DERIVED: dict[str, ColumnElement[Any]] = {
    # A UNIQUE promo allows one use for each of its codes.
    "codes_count": case((promos.c.mode == "UNIQUE", promo_counters.c.use_limit)),
    "max_count": case((promos.c.mode == "UNIQUE", 1), else_=promo_counters.c.use_limit),
    "used_count": promo_counters.c.used_count,
    "like_count": promo_counters.c.like_count,
    "active": is_active(),
}
_PROMOS = select(
    *(_DERIVED[name].label(name) if name in _DERIVED else promos.c[name] for name in Promo.__dataclass_fields__)
).join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
_FOUND = _PROMOS.where(promos.c.id == bindparam("id"))
# By whether it is locked, in the order of all locks; it is read again once both locks are there.
_FIND = {
    False: Statement(_FOUND),
    True: Statement(_FOUND.with_for_update(key_share=True, of=[promo_counters, promos])),
}
_COMPANY_ID = bindparam("company", type_=Uuid)
_OWN = select(promos.c.id, promos.c.created_at, promos.c.active_from, promos.c.active_until).where(
    promos.c.company_id == _COMPANY_ID
)
# The countries of a filter, and '' for the promos that are for all.
_ASKED_KEYS = bindparam("country_keys", type_=ARRAY(Text))
_TOTAL = select(func.coalesce(func.sum(company_promo_counts.c.promos_count), 0)).where(
    company_promo_counts.c.company_id == _COMPANY_ID
)
_OF_COUNTRIES = company_promo_counts.c.country_key == func.any(cast(_ASKED_KEYS, ARRAY(Text)))
# By whether there is a filter.
_COUNTS = {False: _TOTAL, True: _TOTAL.where(_OF_COUNTRIES)}
_TOTALS = {filtered: Statement(total) for filtered, total in _COUNTS.items()}
_OWNER = Statement(select(promos.c.company_id).where(promos.c.id == bindparam("id")))


def _counted(company_id: ColumnElement[Any], target_key: ColumnElement[Any], difference: int) -> ReturningInsert[Any]:
    """Return the statement that changes the number of a company's promos for a country, or for all ('').

    A part that no other transaction holds is changed; if there is none, a new one is made.
    """
    parts = company_promo_counts.c
    counted = (parts.company_id == company_id, parts.country_key == target_key)
    free = select(parts.part).where(*counted).limit(1).with_for_update(skip_locked=True).cte("free")
    changed = (
        update(company_promo_counts)
        .where(*counted, parts.part == free.c.part)
        .values(promos_count=parts.promos_count + difference)
        .returning(parts.part)
        .cte("changed")
    )
    made = select(company_id, target_key, literal(difference, Integer)).where(~exists(select(changed.c.part)))
    names = ["company_id", "country_key", "promos_count"]
    return insert(company_promo_counts).from_select(names, made).returning(parts.part)


def _insert() -> Select[Any]:
    """Return the statement that inserts a promo and all that goes with it: five round trips less, and one commit."""
    codes, use_limit = bindparam("codes", type_=ARRAY(Text)), bindparam("use_limit", type_=Integer)
    given = {column.name: bindparam(column.name, type_=column.type) for column in promos.c if column.name in _GIVEN}
    promo = insert(promos).values(**given, promo_unique=func.to_json(codes)).returning(*promos.c).cte("promo")
    counters = insert(promo_counters).from_select(["promo_id", "use_limit"], select(promo.c.id, use_limit))
    value = func.unnest(codes).table_valued("value", with_ordinality="position", name="given").render_derived()
    values = insert(promo_codes).from_select(
        ["promo_id", "position", "value"],
        select(promo.c.id, value.c.position, value.c.value).join_from(promo, value, true()),
    )
    listed = select(promo, (use_limit > 0).label("usable")).cte("listed")
    created = insert(promo_changes).from_select(
        ["promo_id", "number", "company_id", "event"],
        select(promo.c.id, literal_column("1"), promo.c.company_id, literal_column("'created'")),
    )
    counted = _counted(given["company_id"], func.coalesce(given["country_key"], ""), 1)
    return select(promo.c.id).add_cte(
        counters.cte("counters"), values.cte("codes"), counted.cte("counted"), created.cte("created"), *listing(listed)
    )


# What is given of a promo when it is inserted.
_GIVEN = {column.name for column in promos.c} - {"created_at", "promo_unique"}
_INSERT = Statement(_insert())
_CHANGE_COUNT = {
    difference: Statement(_counted(_COMPANY_ID, bindparam("target_key", type_=Text), difference))
    for difference in (-1, 1)
}
_UPDATE_LIMIT = Statement(
    update(promo_counters)
    .where(promo_counters.c.promo_id == bindparam("promo"), promo_counters.c.used_count <= bindparam("limit"))
    .values(use_limit=bindparam("limit"))
    .returning(promo_counters.c.promo_id)
)


def find_promo(connection: Connection, promo_id: UUID, today: date, *, locked: bool = False) -> Promo | None:
    """Return the promo, active or not by the business day `today`; None if there is none of this id.

    With `locked` nobody else changes it, or a number of it, until the end of the transaction.
    """
    row = _FIND[locked].row(connection, {"id": promo_id, "today": today})
    return None if row is None else Promo(*row)


def find_promo_owner(connection: Connection, promo_id: UUID) -> UUID | None:
    """Return the id of the promo's company; None if there is no such promo."""
    owner_id: UUID | None = _OWNER.value(connection, {"id": promo_id})
    return owner_id


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
    values: dict[str, Any] = {"company": company_id}
    if countries is not None:
        values["country_keys"] = sorted({"", *(country.casefold() for country in countries)})
    filtered = countries is not None
    total = int(_TOTALS[filtered].value(connection, values))
    pages, values = _PAGES[sort_by, filtered], {**values, "today": today}
    rows = pages.rows(connection, values, total=total, limit=limit, offset=offset)
    return [Promo(*row) for row in rows], total


def insert_promo(
    connection: Connection,
    promo_id: UUID,
    values: Mapping[str, Any],
    today: date,
    *,
    use_limit: int,
    codes: Sequence[str] | None,
) -> None:
    """Insert a promo with its counters and codes, count, record and list it in all feeds that it is for; at once.

    `values` are columns of promos without the case-folded keys; `codes` are those of a UNIQUE promo in their order.
    """
    given = {**dict.fromkeys(_GIVEN), "id": promo_id, **values, **_keys(values)}
    _INSERT.row(connection, {**given, "today": today, "use_limit": use_limit, "codes": codes})


def update_use_limit(connection: Connection, promo_id: UUID, use_limit: int) -> bool:
    """Set how many activations a promo allows; False, and nothing changed, if there have been more already."""
    return _UPDATE_LIMIT.row(connection, {"promo": promo_id, "limit": use_limit}) is not None


def update_promo(connection: Connection, promo_id: UUID, changes: Mapping[str, Any]) -> bool:
    """Change the definition of a promo, and count it for its country of then; to be run in one transaction.

    Args:
        connection: where to run it.
        promo_id: the promo, which must exist.
        changes: one or more columns of promos; country and categories come together, their keys are added.

    Returns:
        False, and nothing changed, if its period would end before it begins.
    """
    columns = {**changes, **_keys(changes)}
    values = {_parameter(name): value for name, value in columns.items()}
    changed = _update(frozenset(columns)).row(connection, {"id": promo_id, **values})
    if changed is None:
        return False
    company_id, old_key, new_key = changed
    if old_key != new_key:
        for key, difference in ((old_key, -1), (new_key, 1)):
            _CHANGE_COUNT[difference].row(connection, {"company": company_id, "target_key": key or ""})
    return True


@cache
def _update(columns: frozenset[str]) -> Statement:
    """Return the statement that sets columns of a promo and returns its company, and its country before and after."""
    new = {name: bindparam(_parameter(name), type_=promos.c[name].type) for name in columns}
    begins, ends = (new.get(name, promos.c[name]) for name in ("active_from", "active_until"))
    # The country that the promo has until now: locked, so that no other change comes between.
    before = (
        select(promos.c.id, promos.c.country_key)
        .where(promos.c.id == bindparam("id"))
        .with_for_update(key_share=True)
        .cte("before")
    )
    return Statement(
        update(promos)
        .where(promos.c.id == before.c.id, or_(begins.is_(None), ends.is_(None), begins <= ends))
        .values(new)
        .returning(promos.c.company_id, before.c.country_key, promos.c.country_key)
    )


def _parameter(column: str) -> str:
    """Return the name of the parameter for a column: SQLAlchemy reserves the names of the columns that are set."""
    return f"new_{column}"


def _page(sort_by: str | None, filtered: bool, window: Window) -> Select[Any]:
    """Return the statement of a page of a company's list, which is chosen before its rows are made."""
    own = (_first_of_countries(sort_by, window) if filtered else _OWN).subquery("own")
    order = company_order(own.c, sort_by, backward=window.backward)
    page = select(own).order_by(*order).limit(window.limit).offset(window.offset).subquery("page")
    promo = lateral_join(_PROMOS.where(promos.c.id == page.c.id), "promo")
    return select(promo).join_from(page, promo, true()).order_by(*company_order(page.c, sort_by))


def _first_of_countries(sort_by: str | None, window: Window) -> Select[Any]:
    """Return the first promos for each country that is asked for: no more than a page could need.

    One index has them in their order for each country, and none for several; and the one that has all promos of a
    company in their order would be read to its end where only few of them, or none, are for the country.
    """
    asked = func.unnest(_ASKED_KEYS).table_valued("country_key", name="asked").render_derived()
    order = company_order(promos.c, sort_by, backward=window.backward)
    of_one = _OWN.where(asked.c.country_key == TARGET_KEY)
    first = of_one.order_by(*order).limit(window.depth).lateral("first")
    return select(first).select_from(asked.join(first, true()))


_PAGES = {
    (sort_by, filtered): Pages(partial(_page, sort_by, filtered), _COUNTS[filtered].scalar_subquery())
    for sort_by in (None, "active_from", "active_until")
    for filtered in (False, True)
}


def _keys(values: Mapping[str, Any]) -> dict[str, Any]:
    if "categories" not in values:
        return {}
    country, categories = values["country"], values["categories"] or ()
    category_keys = [category.casefold() for category in categories]
    return {"country_key": country and country.casefold(), "category_keys": category_keys}
