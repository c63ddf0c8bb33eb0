"""Promos as a user sees them."""

from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    ScalarSelect,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    desc,
    exists,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import array

from persistence.conditions import TODAY, TargetUser, fits_age, in_period, is_active
from persistence.database.statements import Statement
from persistence.feeds.feed_filters import FeedFilters, FilterKind, select_matching
from persistence.feeds.feed_totals import feed_total, total_parameters
from persistence.pages import (
    TOTAL,
    Columns,
    CountedPages,
    Key,
    Match,
    Page,
    PageRows,
    Pages,
    Window,
    is_on_page,
    join_page,
)
from persistence.schema.feed_tables import (
    DATE,
    ENDING,
    EXHAUSTED,
    HIDDEN_CATEGORY_KEY,
    IS_DATED,
    IS_LIVE,
    SCHEDULED,
    feed_entries,
)
from persistence.schema.tables import activations, company_names, likes, promo_counters, promos
from persistence.search import without_index
from persistence.user_uses import USES, count_uses


@dataclass(frozen=True)
class PromoForUser:
    """A PromoForUser of api.yml."""

    promo_id: UUID
    company_id: UUID
    company_name: str
    mode: str
    description: str
    image_url: str | None
    categories: list[str] | None
    active_from: date | None
    active_until: date | None
    active: bool
    is_activated_by_user: bool
    like_count: int
    is_liked_by_user: bool
    comment_count: int
    comments_enabled: bool | None  # None: enabled


_earlier = activations.alias("earlier")
_USER_ID = bindparam("user", type_=Uuid)
_COLUMNS: dict[str, ColumnElement[Any]] = {
    "promo_id": promos.c.id,
    "company_id": promos.c.company_id,
    "company_name": company_names.c.name,
    **{
        name: promos.c[name]
        for name in ("mode", "description", "image_url", "categories", "active_from", "active_until")
    },
    "active": is_active(),
    "like_count": promo_counters.c.like_count,
    "comment_count": promo_counters.c.comment_count,
    "comments_enabled": func.nullif(promos.c.comments_enabled, true()),
}


def _select_promos(match: Match, **known: ColumnElement[Any]) -> Select[Any]:
    """Select promos for a user; `known` replaces columns."""
    columns = {**_COLUMNS, **_select_own(match), **known}
    return (
        select(*(columns[name].label(name) for name in PromoForUser.__dataclass_fields__))
        .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
        .join(company_names, company_names.c.company_id == promos.c.company_id)
        .where(match(promo_counters.c.promo_id, "promo_id"), match(promos.c.id, "promo_id"))
    )


def _select_own(match: Match) -> dict[str, ColumnElement[Any]]:
    """Return the columns about the user.

    Citus asks only the shards of the promos that a subquery names. On one server that would be another condition.
    """
    columns: dict[str, ColumnElement[Any]] = {}
    for name, table in {"is_activated_by_user": _earlier, "is_liked_by_user": likes}.items():
        of_promo = [table.c.promo_id == promo_counters.c.promo_id]
        if match in (is_on_page, _is_promo):
            of_promo.append(match(table.c.promo_id, "promo_id"))
        columns[name] = exists().where(*of_promo, table.c.user_id == _USER_ID)
    return columns


def _is_promo(column: ColumnElement[Any], _name: str) -> ColumnElement[bool]:
    return column == _PROMO_ID


_PROMO_ID = bindparam("promo", type_=Uuid)
_FIND = Statement(_select_promos(_is_promo))


def _history(window: Window) -> PageRows:
    key = activations.c.activated_at, activations.c.id
    keys = select(*key).where(activations.c.user_id == _USER_ID, *window.bounds(*key))
    page = window.cut(keys.order_by(*(key if window.backward else map(desc, key))))
    joined = join_page(page, _select_activated, lambda columns: [desc(columns.activated_at), desc(columns.id)])
    located = page.add_columns(activations.c.promo_id)
    return PageRows(joined, located, _select_activated, row_id="id", backward=window.backward)


def _select_activated(match: Match) -> Select[Any]:
    # By all columns of activations_history: the id alone has no index.
    is_activation = (match(activations.c[name], name) for name in ("promo_id", "activated_at", "id"))
    promo = _select_promos(match, is_activated_by_user=true()).add_columns(activations.c.id)
    promo = promo.join(activations, activations.c.promo_id == promo_counters.c.promo_id)
    return promo.where(activations.c.user_id == _USER_ID, *is_activation)


_HISTORY = Pages(_history, USES.scalar_subquery(), PromoForUser, key=("activated_at", "id"), distributed_total=TOTAL)


_CATEGORY = bindparam("category", type_=Text)
_COUNTRIES = (literal("", Text), bindparam("user_country", type_=Text))
_ORDER_COLUMNS = (feed_entries.c.created_at, feed_entries.c.promo_id)
# By the filter `active`. The feed of active promos reads no exhausted entries.
_FITS = {
    None: fits_age(feed_entries),
    True: and_(fits_age(feed_entries), in_period(feed_entries)),
    False: and_(fits_age(feed_entries), or_(not_(in_period(feed_entries)), feed_entries.c.status == EXHAUSTED)),
}


def _select_entries(window: Window, fits: ColumnElement[bool], *conditions: ColumnElement[bool]) -> Select[Any]:
    """Select the first entries that fit the user.

    PostgreSQL reads the index in order up to the limit. If it expected many to be filtered out, it would sort all
    entries of a country, hence `without_index`.
    """
    entries = select(*_ORDER_COLUMNS).where(*conditions, *window.bounds(*_ORDER_COLUMNS), without_index(fits))
    return _limit(window, entries, feed_entries)


def _limit(window: Window, entries: Select[Any], source: FromClause) -> Select[Any]:
    return entries.order_by(*_feed_order(source, window)).limit(window.depth)


def _feed_order(source: FromClause, window: Window) -> list[ColumnElement[Any]]:
    key: list[ColumnElement[Any]] = [source.c[column.name] for column in _ORDER_COLUMNS]
    return key if window.backward else [desc(column) for column in key]


def _edge_date(status: ColumnElement[str], order: ColumnElement[Any]) -> ScalarSelect[date]:
    """Return the first date in an order; NULL if there are no entries.

    Not MIN or MAX: with old statistics the planner reads all entries for them.
    """
    dates = select(DATE).where(feed_entries.c.status == status).order_by(order).limit(literal_column("1"))
    return dates.correlate(None).scalar_subquery()


def _select_dated(window: Window) -> Select[Any]:
    """Select the first active entries with the status `scheduled` or `ending`.

    It reads one date, TODAY, or more until the sweeper has updated the status for a new day.
    """
    zero = literal_column("0", Integer)
    first = func.least(_edge_date(SCHEDULED, DATE) - TODAY, zero)
    last = func.greatest(_edge_date(ENDING, desc(DATE)) - TODAY, zero)
    # An array, because the planner expects 1,000 rows of generate_series.
    distances = func.unnest(func.array(select(func.generate_series(first, last)).scalar_subquery()))
    dates = distances.table_valued("distance", name="dates").render_derived()
    statuses, countries = zip(*product((SCHEDULED, ENDING), _COUNTRIES), strict=True)
    groups = func.unnest(array(statuses), array(countries)).table_valued("status", "country_key", name="groups")
    groups = groups.render_derived()
    of_group = [feed_entries.c[name] == groups.c[name] for name in ("status", "country_key")]
    of_date = (IS_DATED, TODAY + dates.c.distance == DATE, HIDDEN_CATEGORY_KEY == _CATEGORY)
    fits = and_(fits_age(feed_entries), in_period(feed_entries))
    first_of_date = _select_entries(window, fits, *of_group, *of_date).lateral("first_of_date")
    joined = dates.join(groups, true()).join(first_of_date, true())
    return _limit(window, select(*first_of_date.c).select_from(joined), first_of_date)


def _select_parts(active: bool | None, window: Window) -> list[Select[Any]]:
    """Return the parts of a feed: all countries, the user's country, dated entries."""
    category = feed_entries.c.category_key == _CATEGORY
    if active:
        category = and_(IS_LIVE, HIDDEN_CATEGORY_KEY == _CATEGORY)
    of_countries = [feed_entries.c.country_key == country for country in _COUNTRIES]
    parts = [_select_entries(window, _FITS[active], category, of_country) for of_country in of_countries]
    return [*parts, _select_dated(window)] if active else parts


def _select_feed(active: bool | None, window: Window) -> PageRows:
    parts = union_all(*(select(part.subquery()) for part in _select_parts(active, window))).subquery("parts")
    # Joined after the limit: a join with all matches would read all likes and activations.
    merged = select(parts).order_by(*_feed_order(parts, window))
    page = window.cut(merged)
    joined = join_page(page, _select_promos, _newest_first)
    return PageRows(joined, page, _select_promos, row_id="promo_id", backward=window.backward)


def _newest_first(columns: Columns) -> list[ColumnElement[Any]]:
    return [desc(columns.created_at), desc(columns.promo_id)]


def _select_filtered(matching: FromClause, window: Window) -> Select[Any]:
    entries = select(matching).where(*window.bounds(matching.c.created_at, matching.c.promo_id))
    return window.cut(entries.order_by(*_newest_first(matching.c)))


_KEY = ("created_at", "promo_id")
# In a CTE, because several parts of a page have it.
_EXACT_TOTAL = select(feed_total().cte("exact_total")).scalar_subquery()
_FEED = {
    active: Pages(partial(_select_feed, active), TOTAL, PromoForUser, key=_KEY, exact_total=_EXACT_TOTAL)
    for active in (None, True, False)
}


@cache
def _filtered(kind: FilterKind) -> CountedPages[PromoForUser]:
    return CountedPages(
        select_matching(kind),
        _select_filtered,
        _select_promos,
        _newest_first,
        PromoForUser,
        key=_KEY,
        row_id="promo_id",
    )


def find_promo_for_user(connection: Connection, promo_id: UUID, user_id: UUID, today: date) -> PromoForUser | None:
    """Return the promo, also if it does not target the user; None if it does not exist."""
    row = _FIND.row(connection, {"promo": promo_id, "user": user_id, "today": today})
    return None if row is None else PromoForUser(*row)


def list_feed_promos(  # noqa: PLR0913 filters and the page
    connection: Connection,
    user: TargetUser,
    today: date,
    *,
    category: str | None,
    active: bool | None,
    total: int,
    limit: int,
    offset: int = 0,
    after: Key | None = None,
) -> Page[PromoForUser]:
    """Return a page of the promos that target the user, newest first.

    `total` is the result of `count_feed` for the same parameters.
    """
    values = {**total_parameters(user, today, category=category, active=active), "user": user.id}
    return _FEED[active].page(connection, values, total=total, limit=limit, offset=offset, after=after)


def list_filtered_promos(
    connection: Connection,
    user: TargetUser,
    today: date,
    *,
    filters: FeedFilters,
    limit: int,
    offset: int = 0,
    after: Key | None = None,
) -> Page[PromoForUser]:
    """Return a page of the promos that target the user and match filters that the feed index does not have."""
    values = {
        **total_parameters(user, today, category=filters.category, active=filters.active),
        **filters.values(),
        "user": user.id,
    }
    if filters.search is not None and values["search"] is None:
        return Page([], 0, None)
    return _filtered(filters.kind()).page(connection, values, limit=limit, offset=offset, after=after)


def list_history_promos(
    connection: Connection, user_id: UUID, today: date, *, limit: int, offset: int = 0, after: Key | None = None
) -> Page[PromoForUser]:
    """Return a page of the promos of the user's activations, latest first."""
    total = count_uses(connection, user_id)
    values = {"user": user_id, "today": today}
    return _HISTORY.page(connection, values, total=total, limit=limit, offset=offset, after=after)
