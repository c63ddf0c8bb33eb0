"""Activations: the claim that is exact at any concurrency, and where they came from.

Why the counting is right: uses are counted by one UPDATE of the promo's row in promo_counters, whose condition (what is
claimed still fits below use_limit) PostgreSQL checks again on the newest version of the row once it has its lock. The
same statement issues the codes, records the activations and counts them by country, and stands or falls as a whole.
Since that lock is held until the end, there is a free code for each use that is counted, no code is looked for by two
at once, and nobody else has, or waits for, the promo's rows in country_uses: they add no wait and no deadlock.

Why it is fast all the same: the row is locked until the statement is committed, which takes as long for one use as for
many. So those who wait for the same promo in one process are counted together, by one statement (promo_api.batches):
the more of them wait, the more of them share a commit. There is still one row, one limit and one statement that
decides; a promo that is not in demand pays nothing for those that are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    Connection,
    FromClause,
    Integer,
    Select,
    Text,
    Uuid,
    bindparam,
    exists,
    func,
    literal,
    not_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from persistence.activity import has_begun, has_not_ended, has_uses_left, in_period
from persistence.audience import TALLIED, Member, fits_age, fits_country
from persistence.prepared import Prepared
from persistence.tables import activations, country_uses, feed_tally_changes, promo_codes, promo_counters, promos


@dataclass(frozen=True)
class Offer:
    """What speaks against an activation by a user, as a promo stands now.

    Attributes:
        mode: COMMON or UNIQUE.
        inactive: its company allows no use at all.
        not_started: its first day has not come.
        expired: its last day is over.
        exhausted: all the uses that it allows have gone.
        age: it is for users of another age.
        country: it is for users of another country.
    """

    mode: str
    inactive: bool
    not_started: bool
    expired: bool
    exhausted: bool
    age: bool
    country: bool


@dataclass(frozen=True)
class Claim:
    """One use that a user asks for; `country_key` is recorded for the statistics."""

    activation_id: UUID
    user_id: UUID
    country_key: str


@dataclass(frozen=True)
class CountryUse:
    """How often a promo was activated from a country (lower case)."""

    country: str
    activations_count: int


_PROMO_ID = bindparam("promo", type_=Uuid)
_NO_USE = promo_counters.c.use_limit == 0
_OFFER_COLUMNS = {
    "mode": promos.c.mode,
    "inactive": _NO_USE,
    "not_started": not_(has_begun()),
    "expired": not_(has_not_ended()),
    "exhausted": not_(_NO_USE | has_uses_left()),
    "age": not_(fits_age()),
    "country": not_(fits_country()),
}
_OFFER = Prepared(
    select(*(_OFFER_COLUMNS[name].label(name) for name in Offer.__dataclass_fields__))
    .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
    .where(promos.c.id == _PROMO_ID)
)
_SIZE = bindparam("size", type_=Integer)


def _claims() -> FromClause:
    """Return the claims as a table, numbered from one."""
    ids, users = (bindparam(name, type_=ARRAY(Uuid)) for name in ("activations", "users"))
    columns = func.unnest(ids, users, bindparam("countries", type_=ARRAY(Text)))
    names = (activations.c.id, activations.c.user_id, activations.c.country_key)
    return columns.table_valued(*names, with_ordinality="number", name="claim").render_derived()


def _counted() -> CTE:
    """Count a use for each claim, if the promo is within its period and has so many left; else none."""
    return (
        update(promo_counters)
        .where(
            promo_counters.c.promo_id == _PROMO_ID,
            promo_counters.c.used_count + _SIZE <= promo_counters.c.use_limit,
            exists().where(promos.c.id == _PROMO_ID, in_period()),
        )
        .values(used_count=promo_counters.c.used_count + _SIZE)
        .returning(promo_counters.c.promo_id, not_(has_uses_left()).label("took_last"))
        .cte("counted")
    )


def _exhausted(counted: CTE) -> CTE:
    """Tell the tallies of feeds when the last use has gone.

    The promo is read by a lock, hence as it is now and not in the snapshot of the statement: its target may have been
    changed while the statement waited for the counters. Nobody changes it from then on without their lock.
    """
    took_last = select(counted.c.promo_id).where(counted.c.took_last).exists()
    target = select(*(promos.c[name] for name in TALLIED)).where(promos.c.id == _PROMO_ID, took_last)
    promo = target.with_for_update(read=True).cte("promo")
    change = select(literal(0).label("promo_count"), literal(-1).label("usable_count"), *promo.c)
    return insert(feed_tally_changes).from_select(["promo_count", "usable_count", *TALLIED], change).cte("exhausted")


def _recorded(won: Select[Any]) -> CTE:
    """Record the activations that were won: promo, user, id and country of each."""
    columns = ["promo_id", "user_id", "id", "country_key"]
    told = (activations.c.id, activations.c.promo_id, activations.c.country_key)
    return insert(activations).from_select(columns, won).returning(*told).cte("recorded")


def _counted_by_country(recorded: CTE) -> CTE:
    """Count the activations that were recorded, each country once."""
    key = (recorded.c.promo_id, recorded.c.country_key)
    counted = insert(country_uses).from_select(
        ["promo_id", "country_key", "activations_count"], select(*key, func.count()).group_by(*key)
    )
    sums = {"activations_count": country_uses.c.activations_count + counted.excluded.activations_count}
    return counted.on_conflict_do_update(constraint=country_uses.primary_key, set_=sums).cte("counted_by_country")


def _claim_common() -> Select[Any]:
    counted, claim = _counted(), _claims()
    won = select(counted.c.promo_id, claim.c.user_id, claim.c.id, claim.c.country_key)
    recorded = _recorded(won.join_from(counted, claim, true()))
    given = select(recorded.c.id, promos.c.promo_common).join_from(recorded, promos, promos.c.id == _PROMO_ID)
    return given.add_cte(_counted_by_country(recorded), _exhausted(counted))


def _claim_unique() -> Select[Any]:
    counted, claim = _counted(), _claims()
    free = (
        select(promo_codes.c.promo_id, promo_codes.c.position)
        .where(
            promo_codes.c.promo_id == _PROMO_ID,
            promo_codes.c.activation_id.is_(None),
            select(counted.c.promo_id).exists(),
        )
        .order_by(promo_codes.c.position)
        .limit(_SIZE)
        .with_for_update(of=promo_codes, skip_locked=True)
        .cte("free")
    )
    numbered = select(free, func.row_number().over(order_by=free.c.position).label("number")).cte("numbered")
    issued = (
        update(promo_codes)
        .where(
            promo_codes.c.promo_id == numbered.c.promo_id,
            promo_codes.c.position == numbered.c.position,
            numbered.c.number == claim.c.number,
        )
        .values(activation_id=claim.c.id)
        .returning(*promo_codes.c, claim.c.user_id, claim.c.country_key)
        .cte("issued")
    )
    recorded = _recorded(select(issued.c.promo_id, issued.c.user_id, issued.c.activation_id, issued.c.country_key))
    return select(issued.c.activation_id, issued.c.value).add_cte(_counted_by_country(recorded), _exhausted(counted))


_CLAIMS = {"COMMON": Prepared(_claim_common()), "UNIQUE": Prepared(_claim_unique())}
_COUNTRY_USES = Prepared(
    select(country_uses.c.country_key, country_uses.c.activations_count)
    .where(country_uses.c.promo_id == _PROMO_ID)
    .order_by(country_uses.c.country_key.collate("C"))
)


def find_offer(connection: Connection, promo_id: UUID, user: Member, today: date) -> Offer | None:
    """Return what speaks against an activation by the user on the business day `today`; None: no such promo."""
    values = {"promo": promo_id, "user_country": user.country_key, "user_age": user.age, "today": today}
    row = _OFFER.row(connection, values)
    return None if row is None else Offer(*row)


def claim_values(
    connection: Connection, promo_id: UUID, claims: Sequence[Claim], today: date, *, mode: str
) -> list[str]:
    """Activate a promo: count the uses, issue the values and record who got them, all in one statement.

    Args:
        connection: where to run it.
        promo_id: the promo.
        claims: one or more uses, which are granted together or not at all.
        today: the business day; the promo must be within its period on it.
        mode: the mode of the promo, which never changes.

    Returns:
        The values in the order of the claims; empty, and nothing is changed, if fewer uses than claims are left or the
        period is over.
    """
    values = {
        "promo": promo_id,
        "activations": [claim.activation_id for claim in claims],
        "users": [claim.user_id for claim in claims],
        "countries": [claim.country_key for claim in claims],
        "size": len(claims),
        "today": today,
    }
    won: dict[UUID, str] = {row[0]: row[1] for row in _CLAIMS[mode].rows(connection, values)}
    return [won[claim.activation_id] for claim in claims] if won else []


def list_country_uses(connection: Connection, promo_id: UUID) -> list[CountryUse]:
    """Return from where a promo was activated how often, by country from a to z."""
    return [CountryUse(*row) for row in _COUNTRY_USES.rows(connection, {"promo": promo_id})]
