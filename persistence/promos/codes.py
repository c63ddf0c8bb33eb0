"""Codes of UNIQUE promos: added by jobs, listed for their company."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Connection,
    Insert,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    select,
    true,
)

from persistence.database.statements import Statement, lateral_join
from persistence.pages import Key, Page, uncounted_page
from persistence.schema.redemption_tables import IS_CONFIRMED, IS_OF_CODE, redemptions
from persistence.schema.tables import promo_codes, promo_counters


@dataclass(frozen=True)
class Code:
    """A code. Its time and country are None if it is not issued, or was issued before version 0.2.0."""

    position: int
    value: str
    state: str
    issued_at: datetime | None
    country: str | None


_PROMO_ID = bindparam("promo", type_=Uuid)
_COUNT = Statement(select(promo_counters.c.use_limit).where(promo_counters.c.promo_id == _PROMO_ID))


def _insert(*, skips_duplicates: bool) -> Insert:
    codes = bindparam("codes", type_=ARRAY(Text))
    row = func.unnest(codes).table_valued("value", with_ordinality="number", name="row").render_derived()
    new = select(row.c.value, func.row_number().over(order_by=row.c.number).label("number"))
    if skips_duplicates:
        same = promo_codes.c.value.collate("C") == row.c.value.collate("C")
        new = new.where(~exists(select(promo_codes.c.position).where(promo_codes.c.promo_id == _PROMO_ID, same)))
    rows = new.subquery("new")
    position = bindparam("before", type_=Integer) + rows.c.number
    return insert(promo_codes).from_select(
        ["promo_id", "position", "value", "generated"],
        select(_PROMO_ID, position, rows.c.value, bindparam("are_generated", type_=Boolean)),
    )


_INSERT = {skips: Statement(_insert(skips_duplicates=skips)) for skips in (False, True)}
_IS_ISSUED = promo_codes.c.activation_id.is_not(None)
_USED = select(promo_counters.c.used_count).where(promo_counters.c.promo_id == _PROMO_ID).scalar_subquery()


_AFTER, _LIMIT = bindparam("after", type_=Integer), bindparam("limit", type_=BigInteger)
_IS_REDEEMED = and_(redemptions.c.promo_id == _PROMO_ID, IS_OF_CODE, IS_CONFIRMED)
_SHOWN = promo_codes.c.issued_at, promo_codes.c.country_key


def _page(state: str | None) -> Select[Any]:
    page = select(promo_codes.c.position, promo_codes.c.value, _IS_ISSUED.label("is_issued"), *_SHOWN)
    page = page.where(promo_codes.c.promo_id == _PROMO_ID, promo_codes.c.position > _AFTER)
    # The first used_count codes are issued.
    if state == "available":
        page = page.where(promo_codes.c.position > _USED, ~_IS_ISSUED)
    if state == "issued":
        page = page.where(promo_codes.c.position <= _USED, _IS_ISSUED)
    # A job may have inserted codes that its transaction has not counted: not in the same snapshot.
    rows = page.order_by(promo_codes.c.position).limit(_LIMIT).subquery("page")
    redeemed = select(redemptions.c.id).where(_IS_REDEEMED, redemptions.c.code_position == rows.c.position)
    redemption = lateral_join(redeemed, "redemption")
    shown_state = case(
        (redemption.c.id.is_not(None), literal("redeemed", Text)),
        (rows.c.is_issued, literal("issued", Text)),
        else_=literal("available", Text),
    )
    return (
        select(rows.c.position, rows.c.value, shown_state, rows.c.issued_at, rows.c.country_key)
        .select_from(rows.outerjoin(redemption, true()))
        .order_by(rows.c.position)
    )


def _redeemed() -> Select[Any]:
    page = select(redemptions.c.code_position).where(_IS_REDEEMED, redemptions.c.code_position > _AFTER)
    rows = page.order_by(redemptions.c.code_position).limit(_LIMIT).subquery("page")
    code = lateral_join(
        select(promo_codes).where(promo_codes.c.promo_id == _PROMO_ID, promo_codes.c.position == rows.c.code_position),
        "code",
    )
    columns = (code.c.position, code.c.value, literal("redeemed", Text), code.c.issued_at, code.c.country_key)
    return select(*columns).select_from(rows.join(code, true())).order_by(code.c.position)


_PAGES = {state: Statement(_page(state)) for state in (None, "available", "issued")} | {
    "redeemed": Statement(_redeemed())
}


def count_codes(connection: Connection, promo_id: UUID) -> int:
    """Return the number of codes of a promo."""
    return int(_COUNT.value(connection, {"promo": promo_id}))


def insert_codes(
    connection: Connection, promo_id: UUID, codes: Sequence[str], *, before: int, skips_duplicates: bool,
    generated: bool = False,
) -> int:  # fmt: skip
    """Insert codes after the last, and return how many; with `skips_duplicates` only new values.

    They are issued only when use_limit counts them. `before` is the number of codes. If another
    transaction inserts codes meanwhile, the second to commit fails by the primary key.
    """
    values = {"promo": promo_id, "codes": [*codes], "before": before, "are_generated": generated}
    return _INSERT[skips_duplicates].count(connection, values)


def list_codes(
    connection: Connection, promo_id: UUID, *, state: str | None, limit: int, after: Key | None
) -> Page[Code]:
    """Return a page of codes in the order of their positions.

    `state` is None, `available`, `redeemed`, or `issued`, which also selects redeemed codes.
    """
    values = {"promo": promo_id, "after": after[0] if after else 0, "limit": limit + 1}
    codes = [Code(*row) for row in _PAGES[state].rows(connection, values)]
    return uncounted_page(codes, limit, lambda code: [code.position])
