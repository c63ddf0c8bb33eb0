"""The accounts of most tests, the forms of statements, and the log of mails."""

import logging
from collections.abc import Callable

import pytest

from persistence import idempotency
from persistence.database.statements import is_distributed
from persistence.webhooks import deliveries, upkeep
from promo_api.runtime import Runtime
from tests.accounts import Account, Api


@pytest.fixture
def company(api: Api) -> Account:
    """A company without promos."""
    return api.sign_up_company()


@pytest.fixture
def user(api: Api) -> Account:
    """A user of the age 30 in Russia, without data."""
    return api.sign_up_user()


@pytest.fixture(params=["plain", "citus"])
def each_form(request: pytest.FixtureRequest, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test with the statements for plain PostgreSQL and with those for Citus, which run on both."""
    if request.param == "citus":
        for module in (deliveries, upkeep, idempotency):
            monkeypatch.setattr(module, "is_distributed", lambda _connection: True)
        return
    with runtime.database.autocommit() as connection:
        if is_distributed(connection):
            pytest.skip("Citus refuses these statements")


@pytest.fixture
def reasons(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, bool]]]:
    """Returns the reasons of failed mails in the log, and whether each is retried."""
    caplog.set_level(logging.WARNING, "promo_api.mail")
    return lambda: [
        (record.__dict__["reason"], record.__dict__["will_retry"])
        for record in caplog.records
        if record.message == "mail_failed"
    ]
