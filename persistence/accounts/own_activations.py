"""The activations of a user with their codes: the pages of the list and of the export."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Uuid,
    bindparam,
    desc,
    func,
    literal_column,
    select,
    true,
)

from persistence.database.statements import Statement, lateral_join
from persistence.pages import LIMIT, OFFSET, Key, Page, Pages, Window
from persistence.schema.tables import activations, companies, promo_codes, promos, user_uses


@dataclass(frozen=True)
class OwnActivation:
    """An activation with its code. Company and description are the current ones; `country` is case-folded."""

    id: UUID
    promo_id: UUID
    code: str
    country: str
    activated_at: datetime
    company_id: UUID
    company_name: str
    description: str


_USER_ID = bindparam("user", type_=Uuid)
_KEY = activations.c.activated_at, activations.c.id
_NEWEST_FIRST = [desc(column) for column in _KEY]
_PROMO = select(promos.c.promo_common, promos.c.company_id, companies.c.name, promos.c.description).join_from(
    promos, companies, companies.c.id == promos.c.company_id
)
_MAX_POSITION: ColumnElement[int] = literal_column("2147483647")


def _select_page(
    order: Sequence[ColumnElement[Any]],
    limit: ColumnElement[Any],
    offset: ColumnElement[Any] | None,
    *bounds: ColumnElement[bool],
) -> Select[Any]:
    """Select a page from the index activations_history, then join the rest."""
    keys = select(*_KEY).where(activations.c.user_id == _USER_ID, *bounds)
    page = keys.order_by(*order).limit(limit).offset(offset).subquery("page")
    is_on_page = (column == page.c[column.name] for column in _KEY)
    rows = select(activations).where(activations.c.user_id == _USER_ID, *is_on_page)
    activation = lateral_join(rows, "activation")
    promo = lateral_join(_PROMO.where(promos.c.id == activation.c.promo_id), "promo")
    issued = lateral_join(_select_code(activation), "issued")
    return select(
        activation.c.id,
        activation.c.promo_id,
        func.coalesce(promo.c.promo_common, issued.c.value),
        activation.c.country_key,
        activation.c.activated_at,
        promo.c.company_id,
        promo.c.name,
        promo.c.description,
    ).select_from(page.join(activation, true()).join(promo, true()).outerjoin(issued, true()))


def _select_code(activation: FromClause) -> Select[Any]:
    """Select the code of a UNIQUE promo at its position or, if that is unknown, among all codes of the promo."""
    first = func.coalesce(activation.c.code_position, 1)
    last = func.coalesce(activation.c.code_position, _MAX_POSITION)
    return select(promo_codes.c.value).where(
        promo_codes.c.promo_id == activation.c.promo_id,
        promo_codes.c.position.between(first, last),
        promo_codes.c.activation_id == activation.c.id,
    )


def _page(window: Window) -> Select[Any]:
    order = _KEY if window.backward else _NEWEST_FIRST
    rows = _select_page(order, window.limit, window.offset, *window.bounds(*_KEY))
    return rows.order_by(*(desc(name) for name in ("activated_at", "id")))


_COUNT = select(user_uses.c.activations_count).where(user_uses.c.user_id == _USER_ID)
_TOTAL = Statement(_COUNT)
_PAGES = Pages(_page, _COUNT.scalar_subquery(), OwnActivation, key=("activated_at", "id"))
_EXPORT = Statement(_select_page(_KEY, LIMIT, OFFSET).order_by("activated_at", "id"))


def list_activations(
    connection: Connection, user_id: UUID, *, limit: int, offset: int = 0, after: Key | None = None
) -> Page[OwnActivation]:
    """Return a page of the activations, latest first."""
    total: int = _TOTAL.value(connection, {"user": user_id}) or 0
    return _PAGES.page(connection, {"user": user_id}, total=total, limit=limit, offset=offset, after=after)


def list_own_activations(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnActivation]:
    """Return the activations for the export, oldest first."""
    rows = _EXPORT.rows(connection, {"user": user_id, "limit": limit, "offset": offset})
    return [OwnActivation(*row) for row in rows]
