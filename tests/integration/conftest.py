"""The accounts of most tests."""

import pytest

from tests.accounts import Account, Api


@pytest.fixture
def company(api: Api) -> Account:
    """A company without promos."""
    return api.sign_up_company()


@pytest.fixture
def user(api: Api) -> Account:
    """A user of the age 30 in Russia, without data."""
    return api.sign_up_user()
