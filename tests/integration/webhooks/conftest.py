"""A shop with webhooks, and a receiver."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import update

from persistence.schema.webhook_tables import webhooks
from promo_api.config.settings import Settings
from promo_api.runtime import Runtime
from promo_api.webhooks import sender
from tests.accounts import Api
from tests.integration.webhooks.shop import Shop
from tests.webhook_receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that accepts all events."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def shop(runtime: Runtime, settings: Settings, api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A company without events, whose webhooks may reach this machine. A defect of the sender fails the test."""

    def fail(_event: str, extra: object, exc_info: Exception) -> None:
        raise AssertionError(extra) from exc_info

    monkeypatch.setattr(sender._log, "error", fail)
    allowed = replace(settings, webhook_http_allowed=True, webhook_allowed_networks="127.0.0.0/8")
    with runtime.database.autocommit() as connection:  # those of other tests
        connection.execute(update(webhooks).values(enabled=False))
    shop = Shop(runtime, allowed, api.sign_up_company())
    yield shop
    shop.close()
