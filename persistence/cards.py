"""Promos, as users see them: never with a value."""

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Uuid,
    bindparam,
    desc,
    exists,
    func,
    not_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from persistence.audience import Member, fits_user
from persistence.tables import activations, companies, is_active, likes, promo_counters, promos


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
_CARDS = (
    select(*(_COLUMNS[name].label(name) for name in Card.__dataclass_fields__))
    .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
    .join(companies, companies.c.id == promos.c.company_id)
)
_NEWEST = (desc(promos.c.created_at), desc(promos.c.id))
_FIND = _CARDS.where(promos.c.id == bindparam("promo"))
_HISTORY = (
    _CARDS.join(activations, activations.c.promo_id == promo_counters.c.promo_id)
    .where(activations.c.user_id == _USER_ID)
    .order_by(desc(activations.c.activated_at), desc(activations.c.id))
)
_HISTORY_TOTAL = select(func.count()).select_from(activations).where(activations.c.user_id == _USER_ID)


def find_card(connection: Connection, promo_id: UUID, user_id: UUID, today: date) -> Card | None:
    """Return the promo as the user sees it, whoever it targets; None if there is none of this id."""
    row = connection.execute(_FIND, {"promo": promo_id, "user": user_id, "today": today}).one_or_none()
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
) -> tuple[list[Card], int]:
    """Return a page of the promos whose targeting fits the user, newest first, and how many there are on all pages.

    Args:
        connection: where to run it.
        member: whose feed.
        today: the business day that tells what is active.
        category: only promos that list it, in any case; None: all.
        active: only those that are, or are not; None: all.
        limit: promos on the page at most.
        offset: promos before the page.
    """
    matching = select(promos.c.id).where(fits_user())
    values = {"user_country": member.country_key, "user_age": member.age, "user": member.id, "today": today}
    if category is not None:
        matching = matching.where(promos.c.category_keys.op("@>")(bindparam("categories", type_=ARRAY(TEXT))))
        values["categories"] = [category.casefold()]
    if active is not None:
        matching = matching.join(promo_counters, promo_counters.c.promo_id == promos.c.id)
        matching = matching.where(is_active() if active else not_(is_active()))
    total = connection.execute(matching.with_only_columns(func.count()), values).scalar_one()
    # The page is chosen before its cards are made: asked of all that match, likes and activations would be read whole.
    page = matching.order_by(*_NEWEST).limit(limit).offset(offset).subquery("page")
    cards = _CARDS.join(page, page.c.id == promos.c.id).order_by(*_NEWEST)
    rows = connection.execute(cards, values) if limit else ()
    return [Card(*row) for row in rows], total


def list_history_cards(
    connection: Connection, user_id: UUID, today: date, *, limit: int, offset: int
) -> tuple[list[Card], int]:
    """Return a page of the user's activations, latest first, each as the card of its promo, and how many there are."""
    values = {"user": user_id, "today": today}
    total = connection.execute(_HISTORY_TOTAL, values).scalar_one()
    rows = connection.execute(_HISTORY.limit(limit).offset(offset), values) if limit else ()
    return [Card(*row) for row in rows], total
