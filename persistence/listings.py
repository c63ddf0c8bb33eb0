"""Where promos stand in feeds: their entries, and what the tallies are told of them.

A listing is made with its promo (persistence.promos), from the row of that one. To change what it is made of (target,
period, number of uses), lock the promo (persistence.promos.find_promo), delete its listing, change it and insert the
listing again, in one transaction. A claim that takes the last use tells the tallies by itself
(persistence.activations). Neither meets a state that the other has changed meanwhile: both begin with the lock of the
promo's row in promo_counters, and read the promo by a snapshot, or a lock, that they take after it.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    Connection,
    FromClause,
    Select,
    bindparam,
    delete,
    func,
    select,
    union_all,
)
from sqlalchemy.sql.dml import ReturningInsert

from persistence.activity import has_uses_left
from persistence.places import COPIED, PLACE, listing, places_of, told
from persistence.prepared import Prepared
from persistence.tables import feed_entries, promo_counters, promos

_PROMO = bindparam("promo", type_=promos.c.id.type)


def _listed() -> CTE:
    return (
        select(promos, has_uses_left().label("usable"))
        .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
        .where(promos.c.id == _PROMO)
        .cte("listed")
    )


def _delete(listed: FromClause) -> ReturningInsert[Any]:
    places = places_of(listed)
    entries = delete(feed_entries).where(*(feed_entries.c[name] == places.c[name] for name in PLACE))
    return told(listed, -1).add_cte(entries.cte("entries"))


def _wrong_entries() -> Select[Any]:
    """Return how many entries there are but should not be, or should be but are not."""
    there = select(*(feed_entries.c[name] for name in (*PLACE, *COPIED)))
    due = select(places_of(promos))
    wrong = union_all(*(select(one.except_all(other).subquery()) for one, other in ((there, due), (due, there))))
    return select(func.count()).select_from(wrong.subquery())


_LISTED = _listed()
_INSERT = Prepared(select(_LISTED.c.id).add_cte(*listing(_LISTED)))
_DELETE, _WRONG = Prepared(_delete(_LISTED)), Prepared(_wrong_entries())


def insert_listing(connection: Connection, promo_id: UUID) -> None:
    """List the promo, as it is now in this transaction, in all feeds that it is for."""
    _INSERT.row(connection, {"promo": promo_id})


def delete_listing(connection: Connection, promo_id: UUID) -> None:
    """Take the promo, which must be locked, out of all feeds that it was listed in."""
    _DELETE.row(connection, {"promo": promo_id})


def count_wrong_entries(connection: Connection) -> int:
    """Return how many entries of feeds are missing or are not as the promos say; in one snapshot.

    It reads all promos, and takes as long as that takes.
    """
    return int(_WRONG.value(connection, {}))
