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

from persistence.conditions import (
    TARGET_COLUMNS,
    TargetUser,
    fits_age,
    fits_country,
    has_begun,
    has_not_ended,
    has_uses_left,
    in_period,
)
from persistence.database.statements import Statement
from persistence.schema.feed_tables import feed_count_changes
from persistence.schema.tables import (
    activations,
    country_uses,
    promo_codes,
    promo_counters,
    promos,
    user_uses,
)


@dataclass(frozen=True)
class Offer:
    """The reasons that exclude a user from a promo now; all False: the user may activate it.

    Attributes:
        inactive: use_limit is 0.
        not_started: before the period.
        expired: after the period.
        exhausted: no use is left.
        age: the promo targets other ages.
        country: the promo targets another country.
    """

    inactive: bool
    not_started: bool
    expired: bool
    exhausted: bool
    age: bool
    country: bool


@dataclass(frozen=True)
class Claim:
    """A use for a user of this age; `country_key` is recorded for the statistics."""

    activation_id: UUID
    user_id: UUID
    country_key: str
    age: int


@dataclass(frozen=True)
class CountryUse:
    """The number of activations of a promo from a country (case-folded)."""

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
_OFFER = Statement(
    select(*(_OFFER_COLUMNS[name].label(name) for name in Offer.__dataclass_fields__))
    .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
    .where(promos.c.id == _PROMO_ID)
)
_SIZE = bindparam("size", type_=Integer)
_AGES, _COUNTRIES = bindparam("ages", type_=ARRAY(SmallInteger)), bindparam("countries", type_=ARRAY(Text))


def _select_claims() -> CTE:
    """Return the claims as rows, numbered from 1."""
    ids, users = (bindparam(name, type_=ARRAY(Uuid)) for name in ("activations", "users"))
    names = (activations.c.id, activations.c.user_id, activations.c.country_key)
    rows = func.unnest(ids, users, _COUNTRIES).table_valued(*names, with_ordinality="number", name="rows")
    return select(rows.render_derived()).cte("claim")


def _count_uses() -> CTE:
    """Count all uses if enough are left and the promo is active for all claims; otherwise none."""
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


def _issue_codes(counted: CTE, claim: CTE) -> CTE:
    """Issue the next codes of a UNIQUE promo, one for each claim."""
    return (
        update(promo_codes)
        .where(
            counted.c.is_unique,
            promo_codes.c.promo_id == counted.c.promo_id,
            # A range: for a join by number, a generic plan would expect too many rows.
            promo_codes.c.position > counted.c.used_before,
            promo_codes.c.position <= counted.c.used_before + _SIZE,
            claim.c.number == promo_codes.c.position - counted.c.used_before,
        )
        .values(activation_id=claim.c.id)
        .returning(promo_codes.c.activation_id, promo_codes.c.value)
        .cte("issued")
    )


def _count_exhausted(counted: CTE) -> CTE:
    """Stop counting the promo as active in feeds when the last use is taken.

    The targeting may have changed while the statement waited for promo_counters. A locking read sees the newest version
    of the promo; a plain read would see the snapshot of the statement.
    """
    took_last = select(counted.c.promo_id).where(counted.c.took_last).exists()
    target = select(*(promos.c[name] for name in TARGET_COLUMNS)).where(promos.c.id == _PROMO_ID, took_last)
    promo = target.with_for_update(read=True).cte("promo")
    change = select(literal(0).label("promo_count"), literal(-1).label("usable_count"), *promo.c)
    return (
        insert(feed_count_changes)
        .from_select(["promo_count", "usable_count", *TARGET_COLUMNS], change)
        .cte("exhausted")
    )


def _record(granted: FromClause) -> CTE:
    """Insert the activations."""
    columns = ["promo_id", "user_id", "id", "country_key"]
    returned = (activations.c.promo_id, activations.c.country_key, activations.c.user_id)
    return (
        insert(activations)
        .from_select(columns, select(*(granted.c[name] for name in columns)))
        .returning(*returned)
        .cte("recorded")
    )


def _count_in(table: Table, recorded: CTE) -> CTE:
    """Add the activations to a table of counts, in the order of its key, so that statements cannot deadlock."""
    key = [recorded.c[column.name] for column in table.primary_key]
    counts = select(*key, func.count()).group_by(*key).order_by(*key)
    counted = insert(table).from_select([*(column.name for column in key), "activations_count"], counts)
    sums = {"activations_count": table.c.activations_count + counted.excluded.activations_count}
    return counted.on_conflict_do_update(constraint=table.primary_key, set_=sums).cte(f"counted_in_{table.name}")


def _claim() -> Select[Any]:
    claim, counted = _select_claims(), _count_uses()
    issued = _issue_codes(counted, claim)
    # A use without a code has no id, so the insert fails, and nothing is counted.
    identity = case((counted.c.is_unique, issued.c.activation_id), else_=claim.c.id)
    granted = (
        select(
            counted.c.promo_id,
            claim.c.user_id,
            identity.label("id"),
            claim.c.country_key,
            func.coalesce(issued.c.value, counted.c.promo_common).label("value"),
        )
        .join_from(counted, claim, true())
        .outerjoin(issued, issued.c.activation_id == claim.c.id)
        .cte("granted")
    )
    recorded = _record(granted)
    return select(granted.c.id, granted.c.value).add_cte(
        _count_in(country_uses, recorded), _count_in(user_uses, recorded), _count_exhausted(counted)
    )


_CLAIM = Statement(_claim())
_COUNTRY_USES = Statement(
    select(country_uses.c.country_key, country_uses.c.activations_count)
    .where(country_uses.c.promo_id == _PROMO_ID)
    .order_by(country_uses.c.country_key.collate("C"))
)


def find_offer(connection: Connection, promo_id: UUID, user: TargetUser, today: date) -> Offer | None:
    """Return the reasons that exclude the user on the business day `today`; None if the promo does not exist."""
    values = {"promo": promo_id, "user_country": user.country_key, "user_age": user.age, "today": today}
    row = _OFFER.row(connection, values)
    return None if row is None else Offer(*row)


def claim_values(connection: Connection, promo_id: UUID, claims: Sequence[Claim], today: date) -> list[str]:
    """Grant all claims or none, in one statement: count the uses, issue the values, record the activations.

    Returns:
        The values in the order of the claims. Empty without a change if too few uses are left, the promo does not
        target one of the users, or it is not within its period; `find_offer` returns the reason.
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
    granted: dict[UUID, str] = {row[0]: row[1] for row in _CLAIM.rows(connection, values)}
    return [granted[claim.activation_id] for claim in claims] if granted else []


def list_country_uses(connection: Connection, promo_id: UUID) -> list[CountryUse]:
    """Return the number of activations by country, from a to z."""
    return [CountryUse(*row) for row in _COUNTRY_USES.rows(connection, {"promo": promo_id})]
