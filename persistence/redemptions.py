"""Redemptions of issued codes, exact at any concurrency.

The functions of migrations 0020 and 0025 lock the code (UNIQUE), or the row of the promo in redemption_counters
(COMMON). Their next statements see all committed changes, decide and write, by the clock of PostgreSQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    desc,
    exists,
    func,
    literal_column,
    null,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from persistence.database.statements import Statement, is_distributed, lateral_join
from persistence.pages import Key, Match, Page, PageRows, after, uncounted_page
from persistence.schema.lookup_tables import redemption_lookup
from persistence.schema.redemption_tables import IS_HELD, country_redemptions, redemption_counters, redemptions
from persistence.schema.tables import promo_codes, promos

_OK = "ok"


@dataclass(frozen=True)
class Redemption:
    """A redemption of a code. An expired hold has the state `expired` at once."""

    id: UUID
    state: str
    order_ref: str | None
    held_until: datetime | None
    created_at: datetime
    confirmed_at: datetime | None
    ended_at: datetime | None
    promo_id: UUID
    code: str


@dataclass(frozen=True)
class NewRedemption:
    """A redemption to be made; `hold_s` is None if it is confirmed at once."""

    id: UUID
    order_ref: str | None
    hold_s: int | None


@dataclass(frozen=True)
class CodePlace:
    """A code and where it is; the position is None for the code of a COMMON promo."""

    promo_id: UUID
    position: int | None
    value: str


_PROMO_ID, _COMPANY_ID = bindparam("promo", type_=Uuid), bindparam("company", type_=Uuid)
_ID = bindparam("redemption", type_=Uuid)
# The columns of the functions' results.
_RESULT = ("outcome", *(name for name in Redemption.__dataclass_fields__ if name not in ("promo_id", "code")))


_REDEEM = Statement(
    select(
        *func.redeem_codes(
            _PROMO_ID,
            bindparam("position", type_=Integer),
            bindparam("ids", type_=ARRAY(Uuid)),
            _COMPANY_ID,
            bindparam("orders", type_=ARRAY(Text)),
            bindparam("holds", type_=ARRAY(Integer)),
        )
        .table_valued(*_RESULT, name="result")
        .c
    )
)
_CHANGE = Statement(
    select(
        *func.change_redemption(_PROMO_ID, _ID, bindparam("new_state", type_=Text))
        .table_valued(*_RESULT, name="result")
        .c
    )
)
# A list is read at one moment.
_NOW = func.statement_timestamp()
_IS_LIVE = redemptions.c.held_until > _NOW
_CONDITIONS: dict[str, list[ColumnElement[bool]]] = {
    "held": [and_(IS_HELD, _IS_LIVE)],
    "confirmed": [redemptions.c.state == literal_column("'confirmed'")],
    "released": [redemptions.c.state == literal_column("'released'")],
    "expired": [and_(IS_HELD, ~_IS_LIVE), redemptions.c.state == literal_column("'expired'")],
    "voided": [redemptions.c.state == literal_column("'voided'")],
}
_ANY_STATE = [IS_HELD, *(redemptions.c.state == literal_column(f"'{state}'") for state in list(_CONDITIONS)[1:])]
_ORDER_REF = redemptions.c.order_ref == bindparam("order", type_=Text)
_OWN_PROMO = exists(select(promos.c.id).where(promos.c.id == _PROMO_ID, promos.c.company_id == _COMPANY_ID))


def _show(page: Any) -> PageRows:
    """Select the columns of Redemption, newest first."""
    values = select(promo_codes.c.value).where(
        promo_codes.c.promo_id == page.c.promo_id, promo_codes.c.position == page.c.code_position
    )
    code = lateral_join(values, "code")
    promo = lateral_join(select(promos.c.promo_common).where(promos.c.id == page.c.promo_id), "promo")
    is_expired = and_(page.c.state == literal_column("'held'"), page.c.held_until <= _NOW)
    columns = {
        **{name: page.c[name] for name in Redemption.__dataclass_fields__ if name != "code"},
        "state": case((is_expired, literal_column("'expired'", Text)), else_=page.c.state).label("state"),
        "ended_at": case((is_expired, page.c.held_until), else_=page.c.ended_at).label("ended_at"),
    }
    newest = desc(page.c.created_at), desc(page.c.id)
    source = page.outerjoin(code, true()).join(promo, true())
    joined = select(*columns.values(), func.coalesce(code.c.value, promo.c.promo_common).label("code"))
    alone = select(*columns.values()).select_from(page).order_by(*newest)
    return PageRows(joined.select_from(source).order_by(*newest), alone, _select_codes, row_id="id")


def _select_codes(match: Match) -> Select[Any]:
    is_code = and_(
        promo_codes.c.promo_id == redemptions.c.promo_id,
        promo_codes.c.position == redemptions.c.code_position,
        match(promo_codes.c.promo_id, "promo_id"),
    )
    source = redemptions.join(promos, promos.c.id == redemptions.c.promo_id).outerjoin(promo_codes, is_code)
    code = func.coalesce(promo_codes.c.value, promos.c.promo_common).label("code")
    is_shown = (
        match(redemptions.c.promo_id, "promo_id"),
        match(redemptions.c.id, "id"),
        match(promos.c.id, "promo_id"),
    )
    return select(redemptions.c.id, code).select_from(source).where(*is_shown)


def _insert_lookup() -> Insert:
    new = insert(redemption_lookup).values(company_id=_COMPANY_ID, id=_ID, promo_id=_PROMO_ID)
    return new.on_conflict_do_update(index_elements=["company_id", "id"], set_={"promo_id": new.excluded.promo_id})


_BY_ID = select(redemptions).where(redemptions.c.company_id == _COMPANY_ID, redemptions.c.id == _ID)
_FIND = _show(_BY_ID.subquery("found"))
_FIND_OF_PROMO = _show(_BY_ID.where(redemptions.c.promo_id == _PROMO_ID).subquery("found"))
_FIND_PROMO = Statement(
    select(redemption_lookup.c.promo_id).where(
        redemption_lookup.c.company_id == _COMPANY_ID, redemption_lookup.c.id == _ID
    )
)
_INSERT_LOOKUP = Statement(_insert_lookup())


@cache
def _list(state: str | None, *, of_promo: bool, of_order: bool, is_first: bool) -> PageRows:
    """Return the statements for a page: the first entries of each range of an index."""
    newest = redemptions.c.created_at, redemptions.c.id
    rows = select(redemptions)
    # Without company_id, so that the planner uses the index of the promo.
    if of_promo:
        rows = rows.where(redemptions.c.promo_id == _PROMO_ID, _OWN_PROMO)
    if of_order:
        rows = rows.where(redemptions.c.company_id == _COMPANY_ID, _ORDER_REF)
    if not (of_promo or of_order):
        rows = rows.where(redemptions.c.company_id == _COMPANY_ID)
    if not is_first:
        rows = rows.where(tuple_(*newest) < tuple_(*map(after, newest)))
    limit = bindparam("limit", type_=BigInteger)
    conditions: list[ColumnElement[bool]] = _CONDITIONS[state] if state else [true()] if of_order else _ANY_STATE
    ranges = [rows.where(each).order_by(*map(desc, newest)).limit(limit).subquery() for each in conditions]
    first = union_all(*map(select, ranges)).subquery("ranges")
    page = select(first).order_by(desc(first.c.created_at), desc(first.c.id)).limit(limit).subquery("page")
    return _show(page)


_COUNTS = Statement(
    select(country_redemptions.c.country_key, func.sum(country_redemptions.c.redemptions_count))
    .where(country_redemptions.c.promo_id == _PROMO_ID)
    .group_by(country_redemptions.c.country_key)
    .union_all(select(null(), redemption_counters.c.confirmed_count).where(redemption_counters.c.promo_id == _PROMO_ID))
)


def claim_redemptions(
    connection: Connection, company_id: UUID, code: CodePlace, new: Sequence[NewRedemption]
) -> list[Redemption | None]:
    """Redeem or hold a code once, or the code of a COMMON promo several times; None: another request was faster.

    A hold of the same order is extended or confirmed instead.
    """
    values = {
        "promo": code.promo_id,
        "position": code.position,
        "company": company_id,
        "ids": [each.id for each in new],
        "orders": [each.order_ref for each in new],
        "holds": [each.hold_s for each in new],
    }
    return [_read(row, code.promo_id, code.value) for row in _REDEEM.rows(connection, values)]


def insert_redemption_lookup(connection: Connection, company_id: UUID, promo_id: UUID, redemption_id: UUID) -> None:
    """Let a new redemption be found without its promo. On one server an index finds it."""
    if is_distributed(connection):
        _INSERT_LOOKUP.count(connection, {"company": company_id, "promo": promo_id, "redemption": redemption_id})


def update_redemption(connection: Connection, redemption: Redemption, state: str) -> Redemption | None:
    """Confirm, release or void a redemption; None: its state does not allow it."""
    [row] = _CHANGE.rows(connection, {"promo": redemption.promo_id, "redemption": redemption.id, "new_state": state})
    return _read(row, redemption.promo_id, redemption.code)


def find_redemption(connection: Connection, company_id: UUID, redemption_id: UUID) -> Redemption | None:
    """Return a redemption of the company."""
    values: dict[str, Any] = {"company": company_id, "redemption": redemption_id}
    if is_distributed(connection):
        rows = _FIND_OF_PROMO.rows(connection, {**values, "promo": _FIND_PROMO.value(connection, values)})
    else:
        rows = _FIND.rows(connection, values)
    return Redemption(*rows[0]) if rows else None


def list_redemptions(
    connection: Connection,
    company_id: UUID,
    *,
    promo_id: UUID | None,
    order_ref: str | None,
    state: str | None,
    limit: int,
    after: Key | None,
) -> Page[Redemption]:
    """Return a page of the redemptions of the company, newest first. Filters apply unless they are None."""
    statement = _list(state, of_promo=promo_id is not None, of_order=order_ref is not None, is_first=after is None)
    values = {"company": company_id, "promo": promo_id, "order": order_ref, "limit": limit + 1}
    if after is not None:
        values |= {"after_created_at": after[0], "after_id": after[1]}
    rows = [Redemption(*row) for row in statement.rows(connection, values)]
    return uncounted_page(rows, limit, lambda each: [each.created_at, each.id])


def count_redemptions(connection: Connection, promo_id: UUID) -> dict[str | None, int]:
    """Return the confirmed redemptions of a promo by country of the activation; None: those of a COMMON promo."""
    return {country: int(number) for country, number in _COUNTS.rows(connection, {"promo": promo_id})}


def _read(row: Sequence[Any], promo_id: UUID, code: str) -> Redemption | None:
    members = dict(zip(_RESULT, row, strict=True))
    return Redemption(**members, promo_id=promo_id, code=code) if members.pop("outcome") == _OK else None
