"""The codes of a company in any spelling, and whether they can be redeemed now.

An index finds the codes with the same hash (migrations/code_hash.sql); Python decides which of them are equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal,
    literal_column,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from persistence.database.statements import Statement, is_distributed, lateral_join
from persistence.schema.lookup_tables import code_lookup
from persistence.schema.redemption_tables import IS_COMMON_HOLD, IS_OF_CODE, redemption_counters, redemptions
from persistence.schema.tables import promo_codes, promo_counters, promos
from promo_api.folding import fold

_HYPHEN = "-"


@dataclass(frozen=True)
class IssuedCode:
    """A code of a promo; `position` is None for COMMON.

    Attributes:
        reason: why it cannot be redeemed now; None: it can.
        is_own_hold: the order of the request holds it.
    """

    promo_id: UUID
    mode: str
    description: str
    position: int | None
    value: str
    is_generated: bool
    reason: str | None
    is_own_hold: bool


_COMPANY_ID, _PROMO_ID = bindparam("company", type_=Uuid), bindparam("promo", type_=Uuid)
_ORDER_REF, _HASH = bindparam("order", type_=Text), func.code_hash(bindparam("code", type_=Text))
_NOW = func.statement_timestamp()
# Of one promo. Many equal codes do not make a search slow.
_MAX_CODES: ColumnElement[int] = literal_column("200")
_MAX_PROMOS: ColumnElement[int] = literal_column("1000")


def _holders() -> FromClause:
    """Select the ids of the promos with a code of this hash, by one descent of the index for each."""
    found = select(promo_codes.c.promo_id).where(func.code_hash(promo_codes.c.value) == _HASH)
    found = found.order_by(promo_codes.c.promo_id).limit(literal_column("1"))
    holders = select(found.scalar_subquery().label("promo_id")).cte("holders", recursive=True)
    following = found.where(promo_codes.c.promo_id > holders.c.promo_id).correlate(holders)
    return holders.union_all(
        select(following.scalar_subquery().label("promo_id")).where(holders.c.promo_id.is_not(None))
    )


def _codes(promo_id: ColumnElement[Any], *, of_promo: bool) -> FromClause:
    """Select the codes of a UNIQUE promo, the redeemable ones first."""
    # Each table has the parameter, so that Citus asks one server.
    redeemed_promo = promo_id if of_promo else promo_codes.c.promo_id
    current = lateral_join(
        select(redemptions.c.state, redemptions.c.held_until, redemptions.c.order_ref).where(
            redemptions.c.promo_id == redeemed_promo,
            redemptions.c.code_position == promo_codes.c.position,
            IS_OF_CODE,
        ),
        "current",
    )
    is_held = and_(current.c.held_until > _NOW, current.c.state == literal_column("'held'"))
    is_own_hold = func.coalesce(and_(is_held, current.c.order_ref == _ORDER_REF), false())
    reason = case(
        (promo_codes.c.activation_id.is_(None), literal("not_issued", Text)),
        (current.c.state == literal_column("'confirmed'"), literal("already_redeemed", Text)),
        (is_own_hold, null()),
        (is_held, literal("held", Text)),
    )
    codes = select(
        promo_codes.c.position,
        promo_codes.c.value,
        promo_codes.c.generated,
        reason.label("reason"),
        is_own_hold.label("is_own_hold"),
    ).outerjoin_from(promo_codes, current, true())
    codes = codes.where(promo_codes.c.promo_id == promo_id, func.code_hash(promo_codes.c.value) == _HASH)
    return codes.order_by(reason.is_not(None), promo_codes.c.position).limit(_MAX_CODES).lateral("codes")


def _unique(*, of_promo: bool) -> Select[Any]:
    """Join by index, with any number of promos of the company."""
    promo = select(promos.c.id, promos.c.mode, promos.c.description).where(promos.c.company_id == _COMPANY_ID)
    if of_promo:
        shown: FromClause = lateral_join(promo.where(promos.c.id == _PROMO_ID), "promo")
        source = shown
    else:
        holders = _holders()
        shown = lateral_join(promo.where(promos.c.id == holders.c.promo_id), "promo")
        source = holders.join(shown, true())
    codes = _codes(_PROMO_ID if of_promo else shown.c.id, of_promo=of_promo)
    return select(*shown.c, *codes.c).select_from(source.join(codes, true()))


def _common(*, of_promo: bool) -> Select[Any]:
    promo_id = _PROMO_ID if of_promo else promos.c.id
    holds = select(redemptions.c.id).where(redemptions.c.promo_id == promo_id, IS_COMMON_HOLD)
    is_own_hold = exists(holds.where(redemptions.c.order_ref == _ORDER_REF, redemptions.c.held_until > _NOW))
    confirmed = func.coalesce(redemption_counters.c.confirmed_count, literal_column("0"))
    taken = confirmed + func.coalesce(redemption_counters.c.held_count, literal_column("0"))
    used = promo_counters.c.used_count
    # An expired hold leaves its place to another redemption.
    reason = case(
        (taken < used, null()),
        (is_own_hold, null()),
        (exists(holds.where(redemptions.c.held_until <= _NOW)), null()),
        (used == literal_column("0"), literal("not_issued", Text)),
        (confirmed >= used, literal("already_redeemed", Text)),
        else_=literal("held", Text),
    )
    code = select(
        promos.c.id,
        promos.c.mode,
        promos.c.description,
        literal_column("NULL::integer").label("position"),
        promos.c.promo_common,
        false(),
        reason,
        is_own_hold,
    )
    source = promos.join(promo_counters, promo_counters.c.promo_id == promo_id)
    code = code.select_from(source.outerjoin(redemption_counters, redemption_counters.c.promo_id == promo_id))
    is_found = (promos.c.promo_common.is_not(None), func.code_hash(promos.c.promo_common) == _HASH)
    code = code.where(promos.c.company_id == _COMPANY_ID, *is_found, *([promos.c.id == _PROMO_ID] if of_promo else []))
    return code.limit(_MAX_PROMOS)


_LIST_PROMOS = Statement(
    select(code_lookup.c.promo_id)
    .where(code_lookup.c.company_id == _COMPANY_ID, code_lookup.c.code_hash == _HASH)
    .order_by(code_lookup.c.promo_id)
    .limit(_MAX_PROMOS)
)


def _insert_lookup() -> Insert:
    codes = func.unnest(bindparam("codes", type_=ARRAY(Text))).column_valued("value")
    rows = select(_COMPANY_ID, func.code_hash(codes), _PROMO_ID)
    return insert(code_lookup).from_select(["company_id", "code_hash", "promo_id"], rows).on_conflict_do_nothing()


_INSERT_LOOKUP = Statement(_insert_lookup())


@cache
def _find(*, of_promo: bool) -> Statement:
    return Statement(union_all(_unique(of_promo=of_promo), _common(of_promo=of_promo).subquery().select()))


def find_codes(
    connection: Connection, company_id: UUID, code: str, promo_id: UUID | None, *, order_ref: str | None = None
) -> list[IssuedCode]:
    """Return the codes of a company, or of one of its promos, that a person means by `code`.

    Of more than 200 equal codes of a promo some are left out; redeemable codes come first.
    """
    values = {"company": company_id, "code": code, "order": order_ref}
    promo_ids = [promo_id]
    if promo_id is None and is_distributed(connection):
        promo_ids = [row[0] for row in _LIST_PROMOS.rows(connection, values)]
    found: list[IssuedCode] = []
    for each in promo_ids:
        rows = _find(of_promo=each is not None).rows(connection, {**values, "promo": each})
        found += (IssuedCode(*row) for row in rows)
    return [each for each in found if _is_meant(each, code)]


def insert_code_lookup(connection: Connection, company_id: UUID, promo_id: UUID, codes: Sequence[str]) -> None:
    """Let new codes be found without their promo. On one server indexes find them."""
    if codes and is_distributed(connection):
        _INSERT_LOOKUP.count(connection, {"company": company_id, "promo": promo_id, "codes": [*codes]})


def _is_meant(issued: IssuedCode, code: str) -> bool:
    """Return whether a person would enter the issued code like that: in any case, a generated one without hyphens."""
    key, entered = fold(issued.value), fold(code)
    if issued.is_generated:
        return key.replace(_HYPHEN, "") == entered.replace(_HYPHEN, "")
    return key == entered
