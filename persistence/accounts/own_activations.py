"""The activations of a user with their codes: the pages of the list and of the export."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Uuid,
    bindparam,
    desc,
    func,
    literal_column,
    select,
    true,
)

from persistence.database.statements import lateral_join
from persistence.pages import LIMIT, OFFSET, TOTAL, Columns, Key, Match, Page, PageRows, Pages, Window, join_page
from persistence.schema.tables import activations, company_names, promo_codes, promos
from persistence.user_uses import USES, count_uses


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
_OWN = activations.c.user_id == _USER_ID
_MAX_POSITION: ColumnElement[int] = literal_column("2147483647")


def _page(page: Select[Any], order: Callable[[Columns], list[ColumnElement[Any]]], *, backward: bool) -> PageRows:
    joined, located = join_page(page, _select_shown, order), page.add_columns(activations.c.promo_id)
    return PageRows(joined, located, _select_shown, row_id="id", backward=backward)


def _list(window: Window) -> PageRows:
    """Return the statements for a page of the index activations_history."""
    keys = select(*_KEY).where(_OWN, *window.bounds(*_KEY))
    page = window.cut(keys.order_by(*(_KEY if window.backward else map(desc, _KEY))))
    return _page(page, lambda columns: [desc(columns.activated_at), desc(columns.id)], backward=window.backward)


def _select_shown(match: Match) -> Select[Any]:
    code = lateral_join(_select_code(), "code")
    # By all columns of the index: the id alone has none.
    is_activation = (match(activations.c[name], name) for name in ("promo_id", "activated_at", "id"))
    columns = {
        "id": activations.c.id,
        "promo_id": activations.c.promo_id,
        "code": func.coalesce(promos.c.promo_common, code.c.value),
        "country": activations.c.country_key,
        "activated_at": activations.c.activated_at,
        "company_id": promos.c.company_id,
        "company_name": company_names.c.name,
        "description": promos.c.description,
    }
    promo = activations.join(promos, promos.c.id == activations.c.promo_id)
    company = promo.join(company_names, company_names.c.company_id == promos.c.company_id)
    shown = select(*(column.label(name) for name, column in columns.items()))
    shown = shown.select_from(company.outerjoin(code, true()))
    return shown.where(_OWN, *is_activation, match(promos.c.id, "promo_id"))


def _select_code() -> Select[Any]:
    """Select the code of a UNIQUE promo at its position or, if that is unknown, among all codes of the promo."""
    first = func.coalesce(activations.c.code_position, 1)
    last = func.coalesce(activations.c.code_position, _MAX_POSITION)
    return select(promo_codes.c.value).where(
        promo_codes.c.promo_id == activations.c.promo_id,
        promo_codes.c.position.between(first, last),
        promo_codes.c.activation_id == activations.c.id,
    )


_PAGES = Pages(_list, USES.scalar_subquery(), OwnActivation, key=("activated_at", "id"), distributed_total=TOTAL)
_EXPORT = _page(
    select(*_KEY).where(_OWN).order_by(*_KEY).limit(LIMIT).offset(OFFSET),
    lambda columns: [columns.activated_at, columns.id],
    backward=False,
)


def list_activations(
    connection: Connection, user_id: UUID, *, limit: int, offset: int = 0, after: Key | None = None
) -> Page[OwnActivation]:
    """Return a page of the activations, latest first."""
    total = count_uses(connection, user_id)
    return _PAGES.page(connection, {"user": user_id}, total=total, limit=limit, offset=offset, after=after)


def list_own_activations(connection: Connection, user_id: UUID, *, limit: int, offset: int) -> list[OwnActivation]:
    """Return the activations for the export, oldest first."""
    rows = _EXPORT.rows(connection, {"user": user_id, "limit": limit, "offset": offset})
    return [OwnActivation(*row) for row in rows]
