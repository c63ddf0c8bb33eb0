"""Activations: claims of uses that are exact at any concurrency.

The function `claim_uses` of migration 0025 locks the row of promo_counters. Its next statements see all committed
changes, decide and write. The n-th use gets the n-th code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Connection, SmallInteger, Text, Uuid, bindparam, case, func, not_, select

from persistence.conditions import (
    TODAY,
    TargetUser,
    fits_age,
    fits_country,
    has_begun,
    has_not_ended,
    has_uses_left,
)
from persistence.database.statements import Statement
from persistence.schema.tables import activations, country_uses, promo_counters, promos


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


_PROMO_ID, _USER_ID = bindparam("promo", type_=Uuid), bindparam("user", type_=Uuid)
_NO_USES = promo_counters.c.use_limit == 0


def _has_reached_limit() -> ColumnElement[bool]:
    """The user has activated the promo `max_per_user` times."""
    of_user = (activations.c.promo_id == _PROMO_ID, activations.c.user_id == _USER_ID)
    count = select(func.count()).select_from(activations).where(*of_user).scalar_subquery()
    # CASE, so that a promo without a limit counts nothing.
    return case((promos.c.max_per_user.is_not(None), promos.c.max_per_user <= count), else_=False)


_REASONS = {
    "archived": promos.c.archived,
    "paused": promos.c.paused,
    "inactive": _NO_USES,
    "not_started": not_(has_begun()),
    "expired": not_(has_not_ended()),
    "exhausted": not_(_NO_USES | has_uses_left()),
    "age": not_(fits_age()),
    "country": not_(fits_country()),
    "user_limit": _has_reached_limit(),
}
_FIND_REASONS = Statement(
    select(*(condition.label(reason) for reason, condition in _REASONS.items()))
    .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
    .where(promos.c.id == _PROMO_ID, promo_counters.c.promo_id == _PROMO_ID)
)
_CLAIM = Statement(
    select(
        func.claim_uses(
            _PROMO_ID,
            *(bindparam(name, type_=ARRAY(Uuid)) for name in ("activations", "users")),
            bindparam("countries", type_=ARRAY(Text)),
            bindparam("ages", type_=ARRAY(SmallInteger)),
            TODAY,
        ).column_valued("value")
    )
)
_COUNTRY_USES = Statement(
    select(country_uses.c.country_key, country_uses.c.activations_count)
    .where(country_uses.c.promo_id == _PROMO_ID)
    .order_by(country_uses.c.country_key.collate("C"))
)


def find_refusal_reasons(connection: Connection, promo_id: UUID, user: TargetUser, today: date) -> list[str] | None:
    """Return all reasons against an activation today; None: no such promo."""
    values: dict[str, Any] = {
        "promo": promo_id,
        "user": user.id,
        "user_country": user.country_key,
        "user_age": user.age,
        "today": today,
    }
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
        "today": today,
    }
    return [row[0] for row in _CLAIM.rows(connection, values)]


def list_country_uses(connection: Connection, promo_id: UUID) -> list[CountryUse]:
    """Return the activations by country, in alphabetical order."""
    return [CountryUse(*row) for row in _COUNTRY_USES.rows(connection, {"promo": promo_id})]
