"""Promos, as users see them: never with a value."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
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

from persistence.activity import TODAY, has_uses_left, in_period, is_active
from persistence.audience import Member, fits_age
from persistence.feed_tables import DATE, ENDING, HIDDEN_CATEGORY_KEY, IS_DATED, IS_LIVE, SCHEDULED, feed_entries
from persistence.prepared import Prepared, hidden, row_by_row
from persistence.tables import activations, companies, likes, promo_counters, promos, user_uses


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


def _cards_of(page: FromClause, **known: ColumnElement[Any]) -> Select[Any]:
    """Return the statement of the cards of a page of promos."""
    card = row_by_row(_cards(**known).where(promo_counters.c.promo_id == page.c.promo_id), "card")
    return select(card).join_from(page, card, true())


_MOST, _BEFORE = (bindparam(name, type_=BigInteger) for name in ("most", "before"))
_FIND = Prepared(_cards().where(promos.c.id == bindparam("promo")))


def _history() -> Select[Any]:
    latest = (desc(activations.c.activated_at), desc(activations.c.id))
    own = select(activations).where(activations.c.user_id == _USER_ID)
    page = own.order_by(*latest).limit(hidden(_MOST)).offset(hidden(_BEFORE)).subquery("page")
    return _cards_of(page, is_activated_by_user=true()).order_by(desc(page.c.activated_at), desc(page.c.id))


_HISTORY = Prepared(_history())
_HISTORY_TOTAL = Prepared(select(user_uses.c.activations_count).where(user_uses.c.user_id == _USER_ID))


def _likely(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition so that plans expect it to hold for nearly all rows, as they do of not being null."""
    return func.nullif(condition, false()).is_not(None)


_CATEGORY = hidden(bindparam("category", type_=Text))
_COUNTRIES = (literal("", Text), bindparam("user_country", type_=Text))
_ORDERED = (feed_entries.c.created_at, feed_entries.c.promo_id)
_USABLE = select(has_uses_left()).where(promo_counters.c.promo_id == feed_entries.c.promo_id).scalar_subquery()
_FITS = {
    None: fits_age(feed_entries),
    True: and_(fits_age(feed_entries), in_period(feed_entries), or_(feed_entries.c.standing.is_not(None), _USABLE)),
    False: and_(fits_age(feed_entries), not_(and_(in_period(feed_entries), _USABLE))),
}


def _newest(fits: ColumnElement[bool], *conditions: ColumnElement[bool]) -> Select[Any]:
    """Return the newest entries that fit the user, up to the number that the page could need.

    Each part ends by itself as soon as a page could be made of it alone: so PostgreSQL reads it by its index, in order,
    and sorts nothing. For the same reason it asks of one entry after the other whether uses are left, by a subquery,
    which cannot be turned into a join of all that there are.

    No plan is to know how many entries that will be. One that expects to need most of those of a country, because the
    page is far down or because next to none are there or fit, would read all of them and sort them.
    """
    return _first(select(*_ORDERED).where(*conditions, _likely(fits)), feed_entries)


def _first(entries: Select[Any], source: FromClause) -> Select[Any]:
    return entries.order_by(*_latest(source)).limit(hidden(_MOST + _BEFORE))


def _latest(source: FromClause) -> list[ColumnElement[Any]]:
    return [desc(source.c[column.name]) for column in _ORDERED]


def _edge(
    standing: ColumnElement[str], edge: Callable[[ColumnElement[date]], ColumnElement[date]]
) -> ScalarSelect[date]:
    """Return the first or last date of a standing; NULL if it has no entry."""
    return select(edge(DATE)).where(feed_entries.c.standing == standing).correlate(None).scalar_subquery()


def _dated() -> Select[Any]:
    """Return the newest active entries that are read by their date.

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
    newest = _newest(fits, *of_group, *of_date).lateral("newest")
    return _first(select(*newest.c).select_from(dates.join(groups, true()).join(newest, true())), newest)


def _parts(active: bool | None) -> list[Select[Any]]:
    """Return the parts of a feed: of all countries, of the user's, and for active promos the dated entries of both.

    The parts for active promos contain no entry that cannot be active TODAY, or only the few that persistence.standings
    has not updated yet.
    """
    category = feed_entries.c.category_key == _CATEGORY
    if active:
        category = and_(IS_LIVE, HIDDEN_CATEGORY_KEY == _CATEGORY)
    of_countries = [feed_entries.c.country_key == hidden(country) for country in _COUNTRIES]
    parts = [_newest(_FITS[active], category, of_country) for of_country in of_countries]
    return [*parts, _dated()] if active else parts


def _feed(active: bool | None) -> Select[Any]:
    """Return the statement of a feed's page: the entries of all countries and of the user's, merged in their order."""
    both = union_all(*(select(part.subquery()) for part in _parts(active))).subquery("both")
    # The page is chosen before its cards are made: asked of all that match, likes and activations would be read whole.
    page = select(both).order_by(*_latest(both)).limit(hidden(_MOST)).offset(hidden(_BEFORE)).subquery("page")
    return _cards_of(page).order_by(*_latest(page))


_FEED = {active: Prepared(_feed(active)) for active in (None, True, False)}


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
    limit: int,
    offset: int,
) -> list[Card]:
    """Return a page of the promos whose targeting fits the user, newest first; `tallies` has how many there are.

    Args:
        connection: where to run it.
        member: whose feed.
        today: the business day that tells what is active.
        category: only promos that list it, in any case; None: all.
        active: only those that are, or are not; None: all.
        limit: promos on the page at most.
        offset: promos before the page.
    """
    values = {
        "category": "" if category is None else category.casefold(),
        "user_country": member.country_key,
        "user_age": member.age,
        "user": member.id,
        "today": today,
        "most": limit,
        "before": offset,
    }
    return [Card(*row) for row in _FEED[active].rows(connection, values)]


def list_history_cards(
    connection: Connection, user_id: UUID, today: date, *, limit: int, offset: int
) -> tuple[list[Card], int]:
    """Return a page of the user's activations, latest first, each as the card of its promo, and how many there are."""
    total: int = _HISTORY_TOTAL.value(connection, {"user": user_id}) or 0
    values = {"user": user_id, "today": today, "most": limit, "before": offset}
    rows = _HISTORY.rows(connection, values) if limit else ()
    return [Card(*row) for row in rows], total
