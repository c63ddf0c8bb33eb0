"""The accounts of most tests, and the log of mails."""

import logging
from collections.abc import Callable

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


@pytest.fixture
def reasons(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, bool]]]:
    """Returns the reasons of failed mails in the log, and whether each is retried."""
    caplog.set_level(logging.WARNING, "promo_api.mail")
    return lambda: [
        (record.__dict__["reason"], record.__dict__["will_retry"])
        for record in caplog.records
        if record.message == "mail_failed"
    ]
