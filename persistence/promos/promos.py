"""Promos as their companies see and change them, and the lists of a company."""

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
    FromClause,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    not_,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from persistence.conditions import TODAY, is_active, promo_state
from persistence.database.statements import Statement, as_json, new_value
from persistence.pages import TOTAL, CountedPages, Key, Match, Page, PageRows, Pages, Window, join_page
from persistence.promos.company_filters import (
    COMPANY_ID,
    COUNTRY_KEYS,
    ONE_OF_COUNTRIES,
    ORDER_COLUMNS,
    CompanyFilters,
    FilterKind,
    select_matching,
)
from persistence.promos.company_ranges import company_ranges
from persistence.schema.orders import company_order
from persistence.schema.tables import TARGET_KEY, company_promo_counts, promo_counters, promos
from persistence.search import search_words
from promo_api.folding import fold


@dataclass(frozen=True)
class Promo:
    """A promo without its codes, which code_lists returns. None: not set, or not of this mode."""

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
    state: str
    paused: bool
    archived: bool
    max_per_user: int | None
    comments_enabled: bool
    low_stock_percent: int | None
    activation_events: bool


# The members that promo_counters stores.
_COUNTED_OPTIONS = ("low_stock_percent", "activation_events")
_DERIVED: dict[str, ColumnElement[Any]] = {
    # The use_limit of a UNIQUE promo is the number of its codes.
    "codes_count": case((promos.c.mode == "UNIQUE", promo_counters.c.use_limit)),
    "max_count": case((promos.c.mode == "UNIQUE", 1), else_=promo_counters.c.use_limit),
    "used_count": promo_counters.c.used_count,
    "like_count": promo_counters.c.like_count,
    "active": is_active(),
    "state": promo_state(),
    **{name: promo_counters.c[name] for name in _COUNTED_OPTIONS},
}
_PROMOS = select(
    *(_DERIVED[name].label(name) if name in _DERIVED else promos.c[name] for name in Promo.__dataclass_fields__)
).join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
_PROMO = _PROMOS.where(promos.c.id == bindparam("id"), promo_counters.c.promo_id == bindparam("id"))
# By `locked`; the tables in lock order.
_FIND = {
    False: Statement(_PROMO),
    True: Statement(_PROMO.with_for_update(key_share=True, of=[promo_counters, promos])),
}
_OF_COMPANY = select(*ORDER_COLUMNS).where(promos.c.company_id == COMPANY_ID, not_(promos.c.archived))
_COUNT = select(func.coalesce(func.sum(company_promo_counts.c.promos_count), 0)).where(
    company_promo_counts.c.company_id == COMPANY_ID
)
_OF_COUNTRIES = company_promo_counts.c.country_key == ONE_OF_COUNTRIES
_COUNTS = {False: _COUNT, True: _COUNT.where(_OF_COUNTRIES)}
_TOTALS = {filtered: Statement(count) for filtered, count in _COUNTS.items()}
_OWNER = Statement(select(promos.c.company_id).where(promos.c.id == bindparam("id")))
# The key of the promo in company_promo_counts; NULL: archived, so not counted.
_COUNTED_KEY = case((not_(promos.c.archived), TARGET_KEY))
_CATEGORY_KEYS = Statement(select(promos.c.category_keys).where(promos.c.id == bindparam("id")))


# Of columns that cannot be NULL.
_DEFAULTS = {"category_keys": [], "comments_enabled": True, "activation_events": False}
_CREATE = Statement(
    select(
        func.create_promo(
            bindparam("id", type_=Uuid),
            bindparam("members", type_=JSONB),
            bindparam("codes", type_=ARRAY(Text)),
            bindparam("use_limit", type_=Integer),
            TODAY,
        )
    )
)
_CHANGE_COUNT = Statement(
    select(
        func.change_promo_count(COMPANY_ID, bindparam("target_key", type_=Text), bindparam("difference", type_=Integer))
    )
)


def find_promo(connection: Connection, promo_id: UUID, today: date, *, locked: bool = False) -> Promo | None:
    """Return the promo; None if it does not exist. `locked` locks it and its counters."""
    row = _FIND[locked].row(connection, {"id": promo_id, "today": today})
    return None if row is None else Promo(*row)


def find_promo_owner(connection: Connection, promo_id: UUID) -> UUID | None:
    """Return the company of the promo; None if the promo does not exist."""
    owner_id: UUID | None = _OWNER.value(connection, {"id": promo_id})
    return owner_id


def find_category_keys(connection: Connection, promo_id: UUID) -> list[str] | None:
    """Return the keys of the promo's categories; None if the promo does not exist."""
    keys: list[str] | None = _CATEGORY_KEYS.value(connection, {"id": promo_id})
    return keys


def list_promos(  # noqa: PLR0913 filters and the page
    connection: Connection,
    company_id: UUID,
    today: date,
    *,
    countries: Sequence[str] | None = None,
    states: Sequence[str] | None = None,
    mode: str | None = None,
    search: str | None = None,
    sort_by: str | None,
    limit: int,
    offset: int = 0,
    after: Key | None = None,
) -> Page[Promo]:
    """Return a page of a company's promos in `company_order`. Filters apply unless they are None.

    `countries` also selects promos for all countries; case is ignored. Archived promos are listed only if `states` has
    them.
    """
    filters = CompanyFilters(countries, states, mode, search)
    values = {**filters.values(company_id), "today": today}
    if search is not None and values["search"] is None:
        return Page([], 0, None)
    if not filters.have_counts:
        return _counted(filters.kind(), sort_by).page(connection, values, limit=limit, offset=offset, after=after)
    filtered = countries is not None
    total = int(_TOTALS[filtered].value(connection, values))
    pages = _PAGES[sort_by, filtered]
    return pages.page(connection, values, total=total, limit=limit, offset=offset, after=after)


def insert_promo(
    connection: Connection,
    promo_id: UUID,
    values: Mapping[str, Any],
    today: date,
    *,
    use_limit: int,
    codes: Sequence[str] | None,
) -> bool:
    """Insert a promo and its rows in all other tables, in one statement; False if its company is closed.

    `values` has columns of promos without the case-folded keys, and the options of promo_counters; `codes` is None for
    other modes than UNIQUE.
    """
    words = search_words(
        values["company_id"], values["description"], values.get("categories"), values.get("promo_common")
    )
    members = {**_DEFAULTS, **values, **_fold_keys(values), "search_words": words}
    parameters = {"id": promo_id, "members": as_json(members), "codes": codes, "use_limit": use_limit, "today": today}
    return bool(_CREATE.value(connection, parameters))


def update_counters(connection: Connection, promo_id: UUID, changes: Mapping[str, Any]) -> bool:
    """Change use_limit and the options of events; False if there are more uses than the new limit.

    All in one statement, because its triggers compare the promo before and after.
    """
    values = {f"new_{name}": value for name, value in changes.items()}
    return _update_counters(frozenset(changes)).row(connection, {"promo": promo_id, **values}) is not None


@cache
def _update_counters(columns: frozenset[str]) -> Statement:
    new = {name: new_value(promo_counters.c[name]) for name in columns}
    counters = promo_counters.c
    return Statement(
        update(promo_counters)
        .where(counters.promo_id == bindparam("promo"), counters.used_count <= new.get("use_limit", counters.use_limit))
        .values(new)
        .returning(counters.promo_id)
    )


def update_promo(connection: Connection, promo_id: UUID, changes: Mapping[str, Any]) -> bool:
    """Change a promo and the counts of its company, in a transaction; False if the period would end before it begins.

    `changes` must have country and categories together or not at all. A change of description or categories clears
    search_words, for `update_search_words`.
    """
    columns = {**changes, **_fold_keys(changes)}
    values = {f"new_{name}": value for name, value in columns.items()}
    row = _update(frozenset(columns)).row(connection, {"id": promo_id, **values})
    if row is None:
        return False
    company_id, old_key, new_key = row
    if old_key != new_key:
        for key, difference in ((old_key, -1), (new_key, 1)):
            if key is not None:
                values = {"company": company_id, "target_key": key, "difference": difference}
                _CHANGE_COUNT.row(connection, values)
    return True


@cache
def _update(columns: frozenset[str]) -> Statement:
    new = {name: new_value(promos.c[name]) for name in columns}
    begins, ends = (new.get(name, promos.c[name]) for name in ("active_from", "active_until"))
    # Locked, so that concurrent changes wait and the old key is current.
    before = (
        select(promos.c.id, _COUNTED_KEY.label("counted_key"))
        .where(promos.c.id == bindparam("id"))
        .with_for_update(key_share=True)
        .cte("before")
    )
    is_promo = (promos.c.id == bindparam("id"), promos.c.id == before.c.id)
    return Statement(
        update(promos)
        .where(*is_promo, or_(begins.is_(None), ends.is_(None), begins <= ends))
        .values(new)
        .returning(promos.c.company_id, before.c.counted_key, _COUNTED_KEY)
    )


def _page(sort_by: str | None, filtered: bool, window: Window) -> PageRows:
    page = _cut((_first_of_countries if filtered else _of_company)(sort_by, window), sort_by, window)
    joined = join_page(page, _select_shown, partial(company_order, sort_by=sort_by))
    if filtered:
        # Citus refuses a lateral subquery with a limit.
        page = _cut(_first(_OF_COMPANY.where(TARGET_KEY == ONE_OF_COUNTRIES), sort_by, window), sort_by, window)
    return PageRows(joined, page, _select_shown, row_id="id", backward=window.backward)


def _cut(rows: Select[Any], sort_by: str | None, window: Window) -> Select[Any]:
    listed = rows.subquery("listed")
    return window.cut(select(listed).order_by(*company_order(listed.c, sort_by, backward=window.backward)))


def _select_shown(match: Match) -> Select[Any]:
    return _PROMOS.where(match(promos.c.id, "id"), match(promo_counters.c.promo_id, "id"))


def _of_company(sort_by: str | None, window: Window) -> Select[Any]:
    return _OF_COMPANY if window.offset is not None else _first(_OF_COMPANY, sort_by, window)


def _first(listed: Select[Any], sort_by: str | None, window: Window) -> Select[Any]:
    """Select the first promos of each range of an index."""
    order = company_order(promos.c, sort_by, backward=window.backward)
    ranges = [listed.where(*bounds).order_by(*order).limit(window.depth) for bounds in company_ranges(sort_by, window)]
    if len(ranges) == 1:
        return ranges[0]
    return select(union_all(*(select(each.subquery()) for each in ranges)).subquery("ranges"))


def _first_of_countries(sort_by: str | None, window: Window) -> Select[Any]:
    """Scan an index in order for each country; a scan of all promos of the company would skip many."""
    countries = func.unnest(COUNTRY_KEYS).table_valued("country_key", name="countries").render_derived()
    of_country = _OF_COMPANY.where(countries.c.country_key == TARGET_KEY).correlate(countries)
    first = _first(of_country, sort_by, window).lateral("first")
    return select(first).select_from(countries.join(first, true()))


def _counted_page(sort_by: str | None, matching: FromClause, window: Window) -> Select[Any]:
    follows = [and_(*bounds) for bounds in company_ranges(sort_by, window, matching.c) if bounds]
    page = select(matching).where(or_(*follows)) if follows else select(matching)
    return window.cut(page.order_by(*company_order(matching.c, sort_by)))


def _key(sort_by: str | None) -> list[str]:
    return [*([] if sort_by is None else [sort_by]), "created_at", "id"]


_PAGES = {
    (sort_by, filtered): Pages(
        partial(_page, sort_by, filtered),
        _COUNTS[filtered].scalar_subquery(),
        Promo,
        key=_key(sort_by),
        distributed_total=TOTAL,
    )
    for sort_by in (None, "active_from", "active_until")
    for filtered in (False, True)
}


@cache
def _counted(kind: FilterKind, sort_by: str | None) -> CountedPages[Promo]:
    page, order = partial(_counted_page, sort_by), partial(company_order, sort_by=sort_by)
    return CountedPages(select_matching(kind), page, _select_shown, order, Promo, key=_key(sort_by), row_id="id")


def _fold_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    if "categories" not in values:
        return {}
    country, categories = values["country"], values["categories"] or ()
    return {"country_key": country and fold(country), "category_keys": [*map(fold, categories)]}
