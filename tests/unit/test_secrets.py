"""Secrets of the operator: in the text of nothing that holds them, and in no line that the log or `check` writes."""

import logging
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from typing import Any

import pytest
import redis

from promo_api.check import check_all
from promo_api.config.settings import Settings
from promo_api.errors import ServiceUnavailable
from promo_api.redis_client import RedisClient
from promo_api.runtime import Runtime
from promo_api.telemetry.logs import JsonLines, TextLines

SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"
# Nothing listens on port 1, so all that is tried fails, and tells why.
ENVIRONMENT = {
    "SECRET_KEY": f"{SECRET},{SECRET}-of-last-year",
    "POSTGRES_HOST": "127.0.0.1",
    "POSTGRES_PORT": "1",
    "POSTGRES_PASSWORD": SECRET,
    "REDIS_PASSWORD": SECRET,
    "ANTIFRAUD_ADDRESS": f"http://promo:{SECRET}@127.0.0.1:1/way",
    "ARGON2_MEMORY_KIB": "8",
}
REDIS_URLS = {
    "one": f"redis://promo:{SECRET}@127.0.0.1:1/0",
    "tls": f"rediss://promo:{SECRET}@127.0.0.1:1/0",
    "sentinel": f"redis+sentinel://promo:{SECRET}@127.0.0.1:1/promo",
    "cluster": f"redis+cluster://promo:{SECRET}@127.0.0.1:1",
}


@pytest.fixture(params=REDIS_URLS)
def settings(request: pytest.FixtureRequest) -> Settings:
    """Settings that have every secret there can be."""
    return Settings.from_environment(ENVIRONMENT | {"REDIS_URL": REDIS_URLS[request.param]})


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    """A runtime of these settings."""
    with closing(Runtime.open(settings)) as runtime:
        yield runtime


def _written(error: BaseException) -> list[str]:
    record = logging.LogRecord("promo_api.test", logging.ERROR, "", 0, "internal_error", (), sys.exc_info())
    assert record.exc_info
    return [repr(error), str(error), JsonLines().format(record), TextLines().format(record)]


def test_text_of_what_holds_them(settings: Settings, runtime: Runtime) -> None:
    """Settings, what is opened with them, and all that these are made of, have a text without them."""
    opened = [getattr(runtime, field.name) for field in fields(runtime)]
    parts: list[Any] = [part for each in opened for part in getattr(each, "__dict__", {}).values()]
    parts = [part for part in parts if not isinstance(part, str | tuple)]  # the secrets, where they have to be
    held = [settings, settings.redis, runtime, runtime.database.engine, runtime.database.engine.url, *opened, *parts]
    assert len(held) > 20
    assert [each for each in held if SECRET in repr(each) + str(each)] == []


def test_failures_of_postgresql(runtime: Runtime) -> None:
    """A failed connection attempt reports the address, but not the password."""
    try:
        with runtime.database.autocommit():
            pytest.fail("something listens on port 1")
    except ServiceUnavailable as error:
        told = [*_written(error), error.reason]
    assert "port 1 failed" in told[-1]
    assert [text for text in told if SECRET in text] == []


def test_failures_of_redis(settings: Settings) -> None:
    """Neither does one to Redis, nor the client that makes it."""
    client = RedisClient(settings.redis, 0.1)
    told: list[str] = []
    with closing(client):
        try:
            with client.client() as lent:
                told.append(repr(lent))
                lent.ping()
        except redis.RedisError as error:
            told += _written(error)
    assert len(told) >= 4
    assert [text for text in told if SECRET in text] == []


def test_check(settings: Settings) -> None:
    """`check` names each thing and where it is, also when it is away, without what it takes to get in."""
    environment = ENVIRONMENT | {"REDIS_URL": next(url for url in REDIS_URLS.values() if url == settings.redis_url)}
    told = [finding.message for finding in check_all(environment)]
    assert [sentence for sentence in told if SECRET in sentence] == []
    assert any("http://127.0.0.1:1/way is unavailable" in sentence for sentence in told)


@pytest.mark.parametrize(
    ("name", "value"), [("SECRET_KEY", "h2"), ("ANTIFRAUD_ADDRESS", "h2:h2@"), ("REDIS_URL", "h2")]
)
def test_secret_that_is_wrong(name: str, value: str) -> None:
    """A setting that may hold a secret is not repeated where it can't be used."""
    told = "\n".join(finding.message for finding in check_all(ENVIRONMENT | {name: value}))
    assert f"{name} must be" in told
    assert "h2" not in told
