"""Transactions that change what outlives a token: API keys and webhooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from persistence.accounts.companies import Company, claim_company_exclusively, find_company
from promo_api.errors import Unauthenticated
from promo_api.runtime import Runtime


@contextmanager
def lock_own_company(runtime: Runtime, company: Company) -> Iterator[Any]:
    """Open a transaction that locks the company. Its token must be valid until the commit."""
    with runtime.database.transaction() as connection:
        if not claim_company_exclusively(connection, company.id, company.token_version):
            is_deleted = find_company(connection, company.id) is None
            raise Unauthenticated.account_deleted() if is_deleted else Unauthenticated.token_revoked()
        yield connection
