"""Activations: a claim that is exact at any concurrency, and counts by country.

Correctness: one UPDATE of the promo's row in promo_counters counts the uses. PostgreSQL checks its condition, that the
claimed uses fit below use_limit, on the newest version of the row once it holds the lock. The same statement issues the
codes, records the activations and counts them by country, so all of it succeeds or fails together. Codes are issued in
order: the n-th use gets the n-th code, so no search is needed. The row lock is held until the commit and covers the
codes and the rows in country_uses too, so these add no waits and no deadlocks. Rows in user_uses belong to one user.

Speed: the row is locked until the commit, which takes the same time for one use and for many. So concurrent claims for
a promo in one process share a statement (promo_api.coalescing): the more of them wait, the more share a commit.
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
    SmallInteger,
    Table,
    Text,
    Uuid,
    all_,
    bindparam,
    case,
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
from persistence.feed_tables import feed_tally_changes
from persistence.prepared import Prepared
from persistence.tables import (
    activations,
    country_uses,
    promo_codes,
    promo_counters,
    promos,
    user_uses,
)


@dataclass(frozen=True)
class Offer:
    """What speaks against an activation by a user, as a promo stands now.

    Attributes:
        inactive: its company allows no use at all.
        not_started: its first day has not come.
        expired: its last day is over.
        exhausted: all the uses that it allows have gone.
        age: it is for users of another age.
        country: it is for users of another country.
    """

    inactive: bool
    not_started: bool
    expired: bool
    exhausted: bool
    age: bool
    country: bool


@dataclass(frozen=True)
class Claim:
    """One use that a user of this age asks for; `country_key` is recorded for the statistics."""

    activation_id: UUID
    user_id: UUID
    country_key: str
    age: int


@dataclass(frozen=True)
class CountryUse:
    """How often a promo was activated from a country (lower case)."""

    country: str
    activations_count: int


_PROMO_ID = bindparam("promo", type_=Uuid)
_NO_USE = promo_counters.c.use_limit == 0
_OFFER_COLUMNS = {
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
_AGES, _COUNTRIES = bindparam("ages", type_=ARRAY(SmallInteger)), bindparam("countries", type_=ARRAY(Text))


def _claims() -> CTE:
    """Return the claims as a table, numbered from one."""
    ids, users = (bindparam(name, type_=ARRAY(Uuid)) for name in ("activations", "users"))
    names = (activations.c.id, activations.c.user_id, activations.c.country_key)
    given = func.unnest(ids, users, _COUNTRIES).table_valued(*names, with_ordinality="number", name="given")
    return select(given.render_derived()).cte("claim")


def _counted() -> CTE:
    """Count a use for each claim, if the promo is for all of them today and has so many left; else none."""
    return (
        update(promo_counters)
        .where(
            promo_counters.c.promo_id == _PROMO_ID,
            promo_counters.c.used_count + _SIZE <= promo_counters.c.use_limit,
            promos.c.id == promo_counters.c.promo_id,
            in_period(),
            fits_age(age=all_(_AGES)),
            fits_country(country=all_(_COUNTRIES)),
        )
        .values(used_count=promo_counters.c.used_count + _SIZE)
        .returning(
            promo_counters.c.promo_id,
            (promo_counters.c.used_count - _SIZE).label("used_before"),
            not_(has_uses_left()).label("took_last"),
            (promos.c.mode == "UNIQUE").label("is_unique"),
            promos.c.promo_common,
        )
        .cte("counted")
    )


def _issued(counted: CTE, claim: CTE) -> CTE:
    """Issue the codes of a UNIQUE promo that come next, one for each claim."""
    return (
        update(promo_codes)
        .where(
            counted.c.is_unique,
            promo_codes.c.promo_id == counted.c.promo_id,
            # A range: a plan that does not know how many claims come would expect too many rows of a join by number.
            promo_codes.c.position > counted.c.used_before,
            promo_codes.c.position <= counted.c.used_before + _SIZE,
            claim.c.number == promo_codes.c.position - counted.c.used_before,
        )
        .values(activation_id=claim.c.id)
        .returning(promo_codes.c.activation_id, promo_codes.c.value)
        .cte("issued")
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


def _recorded(won: FromClause) -> CTE:
    """Record the activations that were won: promo, user, id and country of each."""
    columns = ["promo_id", "user_id", "id", "country_key"]
    told = (activations.c.promo_id, activations.c.country_key, activations.c.user_id)
    return (
        insert(activations)
        .from_select(columns, select(*(won.c[name] for name in columns)))
        .returning(*told)
        .cte("recorded")
    )


def _counted_in(kept: Table, recorded: CTE) -> CTE:
    """Count the activations that were recorded in a table, each of its keys once, in one order for all who do so."""
    key = [recorded.c[column.name] for column in kept.primary_key]
    counts = select(*key, func.count()).group_by(*key).order_by(*key)
    counted = insert(kept).from_select([*(column.name for column in key), "activations_count"], counts)
    sums = {"activations_count": kept.c.activations_count + counted.excluded.activations_count}
    return counted.on_conflict_do_update(constraint=kept.primary_key, set_=sums).cte(f"counted_in_{kept.name}")


def _claim() -> Select[Any]:
    claim, counted = _claims(), _counted()
    issued = _issued(counted, claim)
    # A use without its code has no id, and cannot be recorded: the statement fails, and nothing is counted either.
    identity = case((counted.c.is_unique, issued.c.activation_id), else_=claim.c.id)
    won = (
        select(
            counted.c.promo_id,
            claim.c.user_id,
            identity.label("id"),
            claim.c.country_key,
            func.coalesce(issued.c.value, counted.c.promo_common).label("value"),
        )
        .join_from(counted, claim, true())
        .outerjoin(issued, issued.c.activation_id == claim.c.id)
        .cte("won")
    )
    recorded = _recorded(won)
    return select(won.c.id, won.c.value).add_cte(
        _counted_in(country_uses, recorded), _counted_in(user_uses, recorded), _exhausted(counted)
    )


_CLAIM = Prepared(_claim())
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


def claim_values(connection: Connection, promo_id: UUID, claims: Sequence[Claim], today: date) -> list[str]:
    """Activate a promo: count the uses, issue the values and record who got them, all in one statement.

    Args:
        connection: where to run it.
        promo_id: the promo, which need not exist.
        claims: one or more uses, which are granted together or not at all.
        today: the business day; the promo must be within its period on it.

    Returns:
        The values in the order of the claims; empty, and nothing is changed, if fewer uses than claims are left, one
        of the users is not of those that the promo is for, or it is not within its period. `find_offer` tells why.
    """
    values = {
        "promo": promo_id,
        "activations": [claim.activation_id for claim in claims],
        "users": [claim.user_id for claim in claims],
        "countries": [claim.country_key for claim in claims],
        "ages": [claim.age for claim in claims],
        "size": len(claims),
        "today": today,
    }
    won: dict[UUID, str] = {row[0]: row[1] for row in _CLAIM.rows(connection, values)}
    return [won[claim.activation_id] for claim in claims] if won else []


def list_country_uses(connection: Connection, promo_id: UUID) -> list[CountryUse]:
    """Return from where a promo was activated how often, by country from a to z."""
    return [CountryUse(*row) for row in _COUNTRY_USES.rows(connection, {"promo": promo_id})]
