"""Where promos stand in feeds: their entries, and what the tallies are told of them.

A listing is made with its promo (persistence.promos.promos), from its row. To change what it is made of (target,
period, number of uses), lock the promo (promos.find_promo), delete its listing, change it and insert the
listing again, in one transaction. A claim that takes the last use tells the tallies by itself
(persistence.activations). Neither meets a state that the other has changed meanwhile: both begin with the lock of the
promo's row in promo_counters, and read the promo by a snapshot, or a lock, that they take after it.

The claim that takes the last use also fires the trigger that marks the entries as exhausted (migration 0010).
"""

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.dml import ReturningInsert

from persistence.conditions import has_uses_left
from persistence.database.statements import Statement
from persistence.feeds.feed_entries import COPIED, PLACE, at_place, listing, places_of, told
from persistence.schema.feed_tables import ENDING, EXHAUSTED, LIVE, SCHEDULED, feed_entries
from persistence.schema.tables import promo_counters, promos

_PROMO = bindparam("promo", type_=promos.c.id.type)


def _listed() -> CTE:
    return (
        select(promos, has_uses_left().label("usable"))
        .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
        .where(promos.c.id == _PROMO)
        .cte("listed")
    )


def _delete(listed: FromClause) -> ReturningInsert[Any]:
    entries = delete(feed_entries).where(*at_place(places_of(listed)))
    return told(listed, -1).add_cte(entries.cte("entries"))


def _wrong_entries() -> Select[Any]:
    """Return how many entries there are but should not be, or should be but are not."""
    there = select(*(feed_entries.c[name] for name in (*PLACE, *COPIED)))
    due = select(places_of(promos))
    wrong = union_all(*(select(one.except_all(other).subquery()) for one, other in ((there, due), (due, there))))
    places = select(func.count()).select_from(wrong.subquery()).scalar_subquery()
    return select(places + _wrong_standings().scalar_subquery())


def _wrong_standings() -> Select[Any]:
    """Return how many entries a feed of active promos would miss, or show wrongly, on some day.

    The day of the last update is not checked: on no day does a feed depend on it.
    """
    entries = feed_entries.c
    is_wrong = or_(
        (entries.standing == EXHAUSTED) == has_uses_left(),
        and_(entries.standing == SCHEDULED, entries.active_from.is_(None)),
        and_(entries.standing == ENDING, entries.active_until.is_(None)),
        entries.standing.not_in((LIVE, SCHEDULED, ENDING, EXHAUSTED)),
    )
    joined = select(func.count()).join_from(feed_entries, promo_counters, promo_counters.c.promo_id == entries.promo_id)
    return joined.where(is_wrong)


_LISTED = _listed()
_INSERT = Statement(select(_LISTED.c.id).add_cte(*listing(_LISTED)))
_DELETE, _WRONG = Statement(_delete(_LISTED)), Statement(_wrong_entries())


def insert_listing(connection: Connection, promo_id: UUID, today: date) -> None:
    """List the promo, as it is now in this transaction and on the business day, in all feeds that it is for."""
    _INSERT.row(connection, {"promo": promo_id, "today": today})


def delete_listing(connection: Connection, promo_id: UUID) -> None:
    """Take the promo, which must be locked, out of all feeds that it was listed in."""
    _DELETE.row(connection, {"promo": promo_id})


def count_wrong_entries(connection: Connection) -> int:
    """Return how many entries of feeds are missing or are not as the promos say; in one snapshot.

    It reads all promos, and takes as long as that takes.
    """
    return int(_WRONG.value(connection, {}))
