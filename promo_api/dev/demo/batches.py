"""Activations and redemptions in batches: one statement calls the functions of the service many times.

The functions of this module are in the schema of the clock.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from promo_api.dev.demo.plan import Use
from promo_api.dev.demo.redemptions import RedemptionStep

# A group of uses of a promo, from `firsts` to `lasts`, is claimed together, at the time of the last. Then each gets its
# time, which is in the same quarter of an hour, so that it is counted there.
_CLAIM = """
    CREATE FUNCTION demo.claim(
        promos uuid[], firsts integer[], lasts integer[], ids uuid[], users uuid[], countries text[], ages smallint[],
        times timestamptz[], positions integer[], today date
    ) RETURNS integer LANGUAGE plpgsql AS $$
    DECLARE
        done integer := 0;
        n integer;
        m integer;
    BEGIN
        FOR number IN 1..cardinality(promos) LOOP
            n := firsts[number];
            m := lasts[number];
            PERFORM set_config('demo.time', times[m]::text, false);
            done := done + (SELECT count(*) FROM claim_uses(
                promos[number], ids[n:m], users[n:m], countries[n:m], ages[n:m], today
            ));
            UPDATE activations SET activated_at = use.moment
            FROM unnest(ids[n:m], users[n:m], times[n:m]) AS use (id, user_id, moment)
            WHERE activations.promo_id = promos[number] AND activations.user_id = use.user_id
                AND activations.id = use.id;
            UPDATE promo_codes SET issued_at = times[n + position - positions[n]]
            WHERE promo_id = promos[number] AND position BETWEEN positions[n] AND positions[m];
        END LOOP;
        RETURN done;
    END $$
"""
_REDEEM = """
    CREATE FUNCTION demo.redeem(
        times timestamptz[], companies uuid[], ids uuid[], promos uuid[], positions integer[], orders text[],
        holds integer[], states text[]
    ) RETURNS integer LANGUAGE plpgsql AS $$
    DECLARE
        done integer := 0;
    BEGIN
        FOR n IN 1..cardinality(ids) LOOP
            PERFORM set_config('demo.time', times[n]::text, false);
            IF states[n] IS NULL THEN
                done := done + (SELECT count(*) FROM redeem_code(
                    promos[n], positions[n], ids[n], companies[n], orders[n], holds[n]
                ) WHERE outcome = 'ok');
            ELSE
                done := done + (
                    SELECT count(*) FROM change_redemption(promos[n], ids[n], states[n]) WHERE outcome = 'ok'
                );
            END IF;
        END LOOP;
        RETURN done;
    END $$
"""
_CALL_CLAIM = (
    "SELECT demo.claim(%s::uuid[], %s::integer[], %s::integer[], %s::uuid[], %s::uuid[], %s::text[], %s::smallint[],"
    " %s::timestamptz[], %s::integer[], %s)"
)
_CALL_REDEEM = (
    "SELECT demo.redeem(%s::timestamptz[], %s::uuid[], %s::uuid[], %s::uuid[], %s::integer[], %s::text[],"
    " %s::integer[], %s::text[])"
)


def create_functions(connection: Any) -> None:
    """Create the functions of this module. They are dropped with the schema of the clock."""
    for statement in (_CLAIM, _REDEEM):
        connection.exec_driver_sql(statement)


def claim_uses(connection: Any, uses: Sequence[Use], today: date) -> int:
    """Claim these uses, which are of one day, each at its time, and return how many were granted."""
    if not uses:
        return 0
    uses = sorted(uses, key=lambda use: (use.code.promo_id, use.at))
    rows = [(use.id, use.user.id, use.user.country_key, use.user.age, use.at, use.code.position) for use in uses]
    values = (*_columns(_groups(uses)), *_columns(rows), today)
    return int(connection.exec_driver_sql(_CALL_CLAIM, values).scalar_one())


def _groups(uses: Sequence[Use]) -> Iterator[tuple[Any, ...]]:
    """Yield the promo of each group with the numbers of its first and last use."""
    last = 0
    for (promo_id, *_), of_group in groupby(uses, key=_group):
        first, last = last + 1, last + sum(1 for _ in of_group)
        yield promo_id, first, last


def _group(use: Use) -> tuple[Any, ...]:
    """Return the promo and the quarter of an hour of a use."""
    return use.code.promo_id, use.at.replace(minute=use.at.minute // 15 * 15, second=0, microsecond=0)


def redeem(connection: Any, steps: Sequence[RedemptionStep]) -> int:
    """Redeem codes and change redemptions, each at its time, and return how many were done."""
    if not steps:
        return 0
    rows = [
        (step.at, step.company_id, step.id, step.code.promo_id, step.code.position, *_options(step)) for step in steps
    ]
    return int(connection.exec_driver_sql(_CALL_REDEEM, _columns(rows)).scalar_one())


def _options(step: RedemptionStep) -> tuple[str | None, int | None, str | None]:
    return step.order_ref, step.hold_s, step.state


def _columns(rows: Iterable[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple([*column] for column in zip(*rows, strict=True))
