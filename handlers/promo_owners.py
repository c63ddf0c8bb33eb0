"""The check that a promo belongs to the company of the request."""

from datetime import date
from typing import Any
from uuid import UUID

from persistence.accounts.companies import Company
from persistence.promos.promos import Promo, find_promo
from promo_api.errors import NotFound, NotOwner


def find_own_promo(connection: Any, promo_id: UUID, company: Company, today: date, *, locked: bool = False) -> Promo:
    """Return a promo of the company. Raise NotFound or NotOwner."""
    promo = find_promo(connection, promo_id, today, locked=locked)
    if promo is None:
        raise NotFound.promo()
    check_owner(promo.company_id, company)
    return promo


def check_owner(owner_id: UUID | None, company: Company) -> None:
    """Raise NotFound if there is no promo, so no owner, and NotOwner if it belongs to another company."""
    if owner_id is None:
        raise NotFound.promo()
    if owner_id != company.id:
        raise NotOwner("This promo belongs to another company.")
