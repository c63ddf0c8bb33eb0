"""Activations and redemptions in batches: one statement calls the functions of the service many times.

The functions of this module are in the schema of the clock.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from promo_api.dev.demo.plan import Use
from promo_api.dev.demo.redemptions import RedemptionStep

# The default of activated_at, while the uses of a promo are claimed together.
_USE_TIME = """
    CREATE FUNCTION demo.use_time() RETURNS timestamptz LANGUAGE plpgsql AS $$
    DECLARE
        number CONSTANT integer := current_setting('demo.use')::integer + 1;
    BEGIN
        PERFORM set_config('demo.use', number::text, false);
        RETURN (current_setting('demo.use_times')::timestamptz[])[number];
    END $$
"""
_USE_DEFAULT = "ALTER TABLE activations ALTER COLUMN activated_at SET DEFAULT demo.use_time()"
# A group of uses of a promo, from `firsts` to `lasts`, is claimed together. It ends at the time of the last use.
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
            PERFORM set_config('demo.time', times[m]::text, false), set_config('demo.use', '0', false),
                set_config('demo.use_times', times[n:m]::text, false);
            done := done + (SELECT count(*) FROM claim_uses(
                promos[number], ids[n:m], users[n:m], countries[n:m], ages[n:m], today
            ));
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
    """Create the functions of this module. They and the default are dropped with the schema of the clock."""
    for statement in (_USE_TIME, _USE_DEFAULT, _CLAIM, _REDEEM):
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
    """Yield each promo with the numbers of its first and last use."""
    last = 0
    for promo_id, of_promo in groupby(uses, key=lambda use: use.code.promo_id):
        first, last = last + 1, last + sum(1 for _ in of_promo)
        yield promo_id, first, last


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
