"""Where promos stand in feeds: their entries, and what the tallies are told of them.

A listing is made from the row of its promo. To change what it is made of (target, period, number of uses), delete it,
change the promo and insert it again, in one transaction. A claim that takes the last use tells the tallies by itself
(persistence.activations). Neither meets a state that the other has changed meanwhile: both begin with the lock of the
promo's row in promo_counters, and read the promo by a snapshot, or a lock, that they take after it.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    Connection,
    FromClause,
    Integer,
    Select,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import TEXT, array
from sqlalchemy.sql.dml import ReturningInsert

from persistence.activity import has_uses_left
from persistence.audience import TALLIED
from persistence.prepared import Prepared
from persistence.tables import feed_entries, feed_tally_changes, promo_counters, promos

_PROMO = bindparam("promo", type_=promos.c.id.type)
_PLACE = ("category_key", "country_key", "created_at", "promo_id")
_COPIED = ("age_from", "age_until", "active_from", "active_until")


def _listed() -> CTE:
    return (
        select(promos, has_uses_left().label("usable"))
        .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
        .where(promos.c.id == _PROMO)
        .cte("listed")
    )


def _places(listed: FromClause) -> CTE:
    """Return the entries: that of all feeds, and one of each category, once, however often it is listed."""
    category_key = func.unnest(listed.c.category_keys.op("||")(array([literal("", TEXT)])))
    keys = (category_key, func.coalesce(listed.c.country_key, ""), listed.c.created_at, listed.c.id)
    named = [key.label(name) for name, key in zip(_PLACE, keys, strict=True)]
    return select(*named, *(listed.c[name] for name in _COPIED)).distinct().cte("places")


def _told(listed: FromClause, sign: int) -> ReturningInsert[Any]:
    """Tell the tallies of one promo more (`sign` 1) or less (-1)."""
    counts = (literal(sign, Integer), sign * cast(listed.c.usable, Integer))
    change = select(*counts, *(listed.c[name] for name in TALLIED))
    told = insert(feed_tally_changes).from_select(["promo_count", "usable_count", *TALLIED], change)
    return told.returning(feed_tally_changes.c.id)


def _insert() -> ReturningInsert[Any]:
    listed = _listed()
    entries = insert(feed_entries).from_select([*_PLACE, *_COPIED], select(_places(listed)))
    return _told(listed, 1).add_cte(entries.cte("entries"))


def _delete() -> ReturningInsert[Any]:
    listed = _listed()
    places = _places(listed)
    entries = delete(feed_entries).where(*(feed_entries.c[name] == places.c[name] for name in _PLACE))
    return _told(listed, -1).add_cte(entries.cte("entries"))


def _wrong_entries() -> Select[Any]:
    """Return how many entries there are but should not be, or should be but are not."""
    there = select(*(feed_entries.c[name] for name in (*_PLACE, *_COPIED)))
    due = select(_places(promos))
    wrong = union_all(*(select(one.except_all(other).subquery()) for one, other in ((there, due), (due, there))))
    return select(func.count()).select_from(wrong.subquery())


_LOCK = Prepared(
    select(promo_counters.c.promo_id).where(promo_counters.c.promo_id == _PROMO).with_for_update(key_share=True)
)
_INSERT, _DELETE, _WRONG = Prepared(_insert()), Prepared(_delete()), Prepared(_wrong_entries())


def insert_listing(connection: Connection, promo_id: UUID) -> None:
    """List the promo, as it is now in this transaction, in all feeds that it is for."""
    _INSERT.row(connection, {"promo": promo_id})


def delete_listing(connection: Connection, promo_id: UUID) -> None:
    """Take the promo, as it was listed, out of all feeds, and lock its counters until the end of the transaction."""
    _LOCK.row(connection, {"promo": promo_id})
    _DELETE.row(connection, {"promo": promo_id})


def count_wrong_entries(connection: Connection) -> int:
    """Return how many entries of feeds are missing or are not as the promos say; in one snapshot.

    It reads all promos, and takes as long as that takes.
    """
    return int(_WRONG.value(connection, {}))
