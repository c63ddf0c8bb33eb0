"""Transactions that change what outlives a token: API keys and webhooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from persistence.accounts.companies import Company, claim_company_exclusively
from promo_api.runtime import Runtime
from promo_api.security.tokens import check_token_version


@contextmanager
def lock_own_company(runtime: Runtime, company: Company) -> Iterator[Any]:
    """Open a transaction that locks the company. Its token must be valid until the commit."""
    with runtime.database.transaction() as connection:
        check_token_version(claim_company_exclusively(connection, company.id), company.token_version)
        yield connection
