"""Activations: claims of uses that are exact at any concurrency.

One UPDATE of promo_counters waits for the row lock, then checks use_limit on the newest version of the row. Codes and
country_uses change under this lock in the same statement. The n-th use gets the n-th code.
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
class Claim:
    """The claim of a use for a user."""

    activation_id: UUID
    user_id: UUID
    country_key: str
    age: int


@dataclass(frozen=True)
class CountryUse:
    """Activations of a promo from a country, which is case-folded."""

    country: str
    activations_count: int


_PROMO_ID = bindparam("promo", type_=Uuid)
_NO_USES = promo_counters.c.use_limit == 0
_REASONS = {
    "inactive": _NO_USES,
    "not_started": not_(has_begun()),
    "expired": not_(has_not_ended()),
    "exhausted": not_(_NO_USES | has_uses_left()),
    "age": not_(fits_age()),
    "country": not_(fits_country()),
}
_FIND_REASONS = Statement(
    select(*(condition.label(reason) for reason, condition in _REASONS.items()))
    .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
    .where(promos.c.id == _PROMO_ID)
)
_SIZE = bindparam("size", type_=Integer)
_AGES, _COUNTRIES = bindparam("ages", type_=ARRAY(SmallInteger)), bindparam("countries", type_=ARRAY(Text))


def _select_claims() -> CTE:
    """Return the claims, numbered from 1."""
    ids, users = (bindparam(name, type_=ARRAY(Uuid)) for name in ("activations", "users"))
    names = (activations.c.id, activations.c.user_id, activations.c.country_key)
    rows = func.unnest(ids, users, _COUNTRIES).table_valued(*names, with_ordinality="number", name="rows")
    return select(rows.render_derived()).cte("claim")


def _count_uses() -> CTE:
    """Count all uses or none."""
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
    return (
        update(promo_codes)
        .where(
            counted.c.is_unique,
            promo_codes.c.promo_id == counted.c.promo_id,
            # The range makes the planner expect few rows.
            promo_codes.c.position > counted.c.used_before,
            promo_codes.c.position <= counted.c.used_before + _SIZE,
            claim.c.number == promo_codes.c.position - counted.c.used_before,
        )
        .values(activation_id=claim.c.id)
        .returning(promo_codes.c.activation_id, promo_codes.c.position, promo_codes.c.value)
        .cte("issued")
    )


def _count_exhausted(counted: CTE) -> CTE:
    """Stop counting the promo as active in feeds when the last use is taken.

    The lock reads the newest target, which may have changed while the statement waited for promo_counters.
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


def _insert_activations(granted: FromClause) -> CTE:
    columns = ["promo_id", "user_id", "id", "country_key", "code_position"]
    returned = (activations.c.promo_id, activations.c.country_key, activations.c.user_id)
    return (
        insert(activations)
        .from_select(columns, select(*(granted.c[name] for name in columns)))
        .returning(*returned)
        .cte("recorded")
    )


def _add_to_counts(table: Table, recorded: CTE) -> CTE:
    """Add the activations to a table in the order of its key, so that two statements cannot deadlock."""
    key = [recorded.c[column.name] for column in table.primary_key]
    counts = select(*key, func.count()).group_by(*key).order_by(*key)
    counted = insert(table).from_select([*(column.name for column in key), "activations_count"], counts)
    sums = {"activations_count": table.c.activations_count + counted.excluded.activations_count}
    return counted.on_conflict_do_update(constraint=table.primary_key, set_=sums).cte(f"counted_in_{table.name}")


def _claim() -> Select[Any]:
    claim, counted = _select_claims(), _count_uses()
    issued = _issue_codes(counted, claim)
    # NULL if the code is missing, so that the insert fails.
    activation_id = case((counted.c.is_unique, issued.c.activation_id), else_=claim.c.id)
    granted = (
        select(
            counted.c.promo_id,
            claim.c.user_id,
            activation_id.label("id"),
            claim.c.country_key,
            issued.c.position.label("code_position"),
            func.coalesce(issued.c.value, counted.c.promo_common).label("value"),
        )
        .join_from(counted, claim, true())
        .outerjoin(issued, issued.c.activation_id == claim.c.id)
        .cte("granted")
    )
    recorded = _insert_activations(granted)
    return select(granted.c.id, granted.c.value).add_cte(
        _add_to_counts(country_uses, recorded), _add_to_counts(user_uses, recorded), _count_exhausted(counted)
    )


_CLAIM = Statement(_claim())
_COUNTRY_USES = Statement(
    select(country_uses.c.country_key, country_uses.c.activations_count)
    .where(country_uses.c.promo_id == _PROMO_ID)
    .order_by(country_uses.c.country_key.collate("C"))
)


def find_refusal_reasons(connection: Connection, promo_id: UUID, user: TargetUser, today: date) -> list[str] | None:
    """Return all reasons against an activation today; None: no such promo."""
    values = {"promo": promo_id, "user_country": user.country_key, "user_age": user.age, "today": today}
    row = _FIND_REASONS.row(connection, values)
    return None if row is None else [reason for reason, applies in zip(_REASONS, row, strict=True) if applies]


def claim_values(connection: Connection, promo_id: UUID, claims: Sequence[Claim], today: date) -> list[str]:
    """Grant all claims or none. Return their values in order; empty: nothing was changed."""
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
    """Return the activations by country, in alphabetical order."""
    return [CountryUse(*row) for row in _COUNTRY_USES.rows(connection, {"promo": promo_id})]
