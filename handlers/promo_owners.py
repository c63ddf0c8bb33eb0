"""The check that a promo belongs to the company of the request."""

from uuid import UUID

from persistence.accounts.companies import Company
from promo_api.errors import NotFound, NotOwner


def check_owner(owner_id: UUID | None, company: Company) -> None:
    """Raise NotFound if there is no promo, so no owner, and NotOwner if it belongs to another company."""
    if owner_id is None:
        raise NotFound.promo()
    if owner_id != company.id:
        raise NotOwner("This promo belongs to another company.")
