"""Promos, as users see them: never with a value."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
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
    false,
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

from persistence.conditions import TODAY, Member, fits_age, has_uses_left, in_period, is_active
from persistence.database.statements import Statement, lateral_join
from persistence.pages import Pages, Window
from persistence.schema.feed_tables import DATE, ENDING, HIDDEN_CATEGORY_KEY, IS_DATED, IS_LIVE, SCHEDULED, feed_entries
from persistence.schema.tables import activations, companies, likes, promo_counters, promos, user_uses


@dataclass(frozen=True)
class Card:
    """A promo before the eyes of one user; image_url None: none."""

    promo_id: UUID
    company_id: UUID
    company_name: str
    description: str
    image_url: str | None
    active: bool
    is_activated_by_user: bool
    like_count: int
    is_liked_by_user: bool
    comment_count: int


# The history lists activations, and asks of each promo whether there was any.
_earlier = activations.alias("earlier")
_USER_ID = bindparam("user", type_=Uuid)
# The subqueries are written on promo_counters.promo_id, not on promos.id, so that they can run beside it on one
# machine.
_COLUMNS: dict[str, ColumnElement[Any]] = {
    "promo_id": promos.c.id,
    "company_id": promos.c.company_id,
    "company_name": companies.c.name,
    "description": promos.c.description,
    "image_url": promos.c.image_url,
    "active": is_active(),
    "is_activated_by_user": exists().where(
        _earlier.c.promo_id == promo_counters.c.promo_id, _earlier.c.user_id == _USER_ID
    ),
    "like_count": promo_counters.c.like_count,
    "is_liked_by_user": exists().where(likes.c.promo_id == promo_counters.c.promo_id, likes.c.user_id == _USER_ID),
    "comment_count": promo_counters.c.comment_count,
}


def _cards(**known: ColumnElement[Any]) -> Select[Any]:
    """Return the statement of cards; a column that is `known` anyway need not be looked for."""
    columns = {**_COLUMNS, **known}
    return (
        select(*(columns[name].label(name) for name in Card.__dataclass_fields__))
        .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
        .join(companies, companies.c.id == promos.c.company_id)
    )


def _card_of(promo: FromClause, **known: ColumnElement[Any]) -> FromClause:
    """Return the card of each row of `promo`, which has the column promo_id."""
    return lateral_join(_cards(**known).where(promo_counters.c.promo_id == promo.c.promo_id), "card")


_FIND = Statement(_cards().where(promos.c.id == bindparam("promo")))


def _history(window: Window) -> Select[Any]:
    """Return the statement for a page of a history: activations_history chooses it, then activations are read."""
    key = activations.c.activated_at, activations.c.id
    keys = select(*key).where(activations.c.user_id == _USER_ID)
    keys = keys.order_by(*(key if window.backward else map(desc, key)))
    page = keys.limit(window.limit).offset(window.offset).subquery("page")
    # The same index finds each activation again: no index leads from its id alone.
    found = select(activations.c.promo_id).where(
        activations.c.user_id == _USER_ID,
        activations.c.activated_at == page.c.activated_at,
        activations.c.id == page.c.id,
    )
    activation = lateral_join(found, "activation")
    card = _card_of(activation, is_activated_by_user=true())
    rows = select(card).select_from(page.join(activation, true()).join(card, true()))
    return rows.order_by(*map(desc, page.c))


_HISTORY_COUNT = select(user_uses.c.activations_count).where(user_uses.c.user_id == _USER_ID)
_HISTORY_TOTAL = Statement(_HISTORY_COUNT)
_HISTORY = Pages(_history, _HISTORY_COUNT.scalar_subquery())


def _likely(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition so that plans expect it to hold for nearly all rows, as they do of not being null."""
    return func.nullif(condition, false()).is_not(None)


_CATEGORY = bindparam("category", type_=Text)
_COUNTRIES = (literal("", Text), bindparam("user_country", type_=Text))
_ORDERED = (feed_entries.c.created_at, feed_entries.c.promo_id)
_USABLE = select(has_uses_left()).where(promo_counters.c.promo_id == feed_entries.c.promo_id).scalar_subquery()
_FITS = {
    None: fits_age(feed_entries),
    True: and_(fits_age(feed_entries), in_period(feed_entries), or_(feed_entries.c.standing.is_not(None), _USABLE)),
    False: and_(fits_age(feed_entries), not_(and_(in_period(feed_entries), _USABLE))),
}


def _entries(window: Window, fits: ColumnElement[bool], *conditions: ColumnElement[bool]) -> Select[Any]:
    """Return the first entries that fit the user, counted as the window is, and no more than its page needs.

    Each part ends by itself as soon as a page could be made of it alone: so PostgreSQL reads it by its index, in order,
    and sorts nothing. For the same reason it asks of one entry after the other whether uses are left, by a subquery,
    which cannot be turned into a join of all that there are.

    No plan is to know how many entries that will be. One that expects to need most of those of a country, because the
    page is far down or because next to none are there or fit, would read all of them and sort them.
    """
    return _first(window, select(*_ORDERED).where(*conditions, _likely(fits)), feed_entries)


def _first(window: Window, entries: Select[Any], source: FromClause) -> Select[Any]:
    return entries.order_by(*_feed_order(source, window)).limit(window.depth)


def _feed_order(source: FromClause, window: Window) -> list[ColumnElement[Any]]:
    key: list[ColumnElement[Any]] = [source.c[column.name] for column in _ORDERED]
    return key if window.backward else [desc(column) for column in key]


def _edge(
    standing: ColumnElement[str], edge: Callable[[ColumnElement[date]], ColumnElement[date]]
) -> ScalarSelect[date]:
    """Return the first or last date of a standing; NULL if it has no entry."""
    return select(edge(DATE)).where(feed_entries.c.standing == standing).correlate(None).scalar_subquery()


def _dated(window: Window) -> Select[Any]:
    """Return the first active entries that are read by their date.

    Most dates are in the future or in the past, and are not read. Dates other than TODAY are read if the sweeper has
    not updated the standing yet, or if its day is later than TODAY.
    """
    nothing = literal_column("0", Integer)
    first = func.least(_edge(SCHEDULED, func.min) - TODAY, nothing)
    last = func.greatest(_edge(ENDING, func.max) - TODAY, nothing)
    # The planner expects a few elements of an array, but a thousand rows of generate_series.
    distances = func.unnest(func.array(select(func.generate_series(first, last)).scalar_subquery()))
    dates = distances.table_valued("distance", name="dates").render_derived()
    standings, countries = zip(*product((SCHEDULED, ENDING), _COUNTRIES), strict=True)
    groups = func.unnest(array(standings), array(countries)).table_valued("standing", "country_key", name="groups")
    groups = groups.render_derived()
    of_group = [feed_entries.c[name] == groups.c[name] for name in ("standing", "country_key")]
    of_date = (IS_DATED, TODAY + dates.c.distance == DATE, HIDDEN_CATEGORY_KEY == _CATEGORY)
    # An entry of a known standing other than `exhausted` has a use left.
    fits = and_(fits_age(feed_entries), in_period(feed_entries))
    first_of_date = _entries(window, fits, *of_group, *of_date).lateral("first_of_date")
    joined = dates.join(groups, true()).join(first_of_date, true())
    return _first(window, select(*first_of_date.c).select_from(joined), first_of_date)


def _parts(active: bool | None, window: Window) -> list[Select[Any]]:
    """Return the parts of a feed: of all countries, of the user's, and for active promos the dated entries of both.

    The parts for active promos contain no entry that cannot be active TODAY, or only the few that `standings`
    has not updated yet.
    """
    category = feed_entries.c.category_key == _CATEGORY
    if active:
        category = and_(IS_LIVE, HIDDEN_CATEGORY_KEY == _CATEGORY)
    of_countries = [feed_entries.c.country_key == country for country in _COUNTRIES]
    parts = [_entries(window, _FITS[active], category, of_country) for of_country in of_countries]
    return [*parts, _dated(window)] if active else parts


def _feed(active: bool | None, window: Window) -> Select[Any]:
    """Return the statement of a feed's page: the entries of all countries and of the user's, merged in their order."""
    both = union_all(*(select(part.subquery()) for part in _parts(active, window))).subquery("both")
    # The page is chosen before its cards are made: asked of all that match, likes and activations would be read whole.
    merged = select(both).order_by(*_feed_order(both, window))
    page = merged.limit(window.limit).offset(window.offset).subquery("page")
    card = _card_of(page)
    return select(card).join_from(page, card, true()).order_by(desc(page.c.created_at), desc(page.c.promo_id))


_FEED = {active: Pages(partial(_feed, active), bindparam("total", type_=BigInteger)) for active in (None, True, False)}


def find_card(connection: Connection, promo_id: UUID, user_id: UUID, today: date) -> Card | None:
    """Return the promo as the user sees it, whoever it targets; None if there is none of this id."""
    row = _FIND.row(connection, {"promo": promo_id, "user": user_id, "today": today})
    return None if row is None else Card(*row)


def list_feed_cards(
    connection: Connection,
    member: Member,
    today: date,
    *,
    category: str | None,
    active: bool | None,
    total: int,
    limit: int,
    offset: int,
) -> list[Card]:
    """Return a page of the promos whose targeting fits the user, newest first.

    Args:
        connection: where to run it.
        member: whose feed.
        today: the business day that tells what is active.
        category: only promos that list it, in any case; None: all.
        active: only those that are, or are not; None: all.
        total: how many there are, as `tallies` has just counted them. New promos come first, so promos made since then
            do not move a page that is counted from the end.
        limit: promos on the page at most.
        offset: promos before the page.
    """
    values = {
        "category": "" if category is None else category.casefold(),
        "user_country": member.country_key,
        "user_age": member.age,
        "user": member.id,
        "today": today,
        "total": total,
    }
    rows = _FEED[active].rows(connection, values, total=total, limit=limit, offset=offset)
    return [Card(*row) for row in rows]


def list_history_cards(
    connection: Connection, user_id: UUID, today: date, *, limit: int, offset: int
) -> tuple[list[Card], int]:
    """Return a page of the user's activations, latest first, each as the card of its promo, and how many there are."""
    total: int = _HISTORY_TOTAL.value(connection, {"user": user_id}) or 0
    values = {"user": user_id, "today": today}
    rows = _HISTORY.rows(connection, values, total=total, limit=limit, offset=offset)
    return [Card(*row) for row in rows], total
