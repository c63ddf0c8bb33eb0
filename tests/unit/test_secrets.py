"""Secrets of the operator are in no text of an object, no log line and no output of `check`."""

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
# Nothing listens on port 1, so each connection fails with a reason.
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
    """Settings with all kinds of secrets."""
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


def test_texts_of_objects(settings: Settings, runtime: Runtime) -> None:
    """The texts of the settings, of the runtime and of its parts contain no secret."""
    opened = [getattr(runtime, field.name) for field in fields(runtime)]
    parts: list[Any] = [part for each in opened for part in getattr(each, "__dict__", {}).values()]
    parts = [part for part in parts if not isinstance(part, str | tuple)]  # the secrets themselves
    objects = [settings, settings.redis, runtime, runtime.database.engine, runtime.database.engine.url, *opened, *parts]
    assert len(objects) > 20
    assert [each for each in objects if SECRET in repr(each) + str(each)] == []


def test_failures_of_postgresql(runtime: Runtime) -> None:
    """A failed connection attempt reports the address, but not the password."""
    try:
        with runtime.database.autocommit():
            pytest.fail("something listens on port 1")
    except ServiceUnavailable as error:
        texts = [*_written(error), error.reason]
    assert "port 1 failed" in texts[-1]
    assert [text for text in texts if SECRET in text] == []


def test_failures_of_redis(settings: Settings) -> None:
    """A failed connection to Redis, and the client, do not show the password."""
    client = RedisClient(settings.redis, 0.1)
    texts: list[str] = []
    with closing(client):
        try:
            with client.client() as lent:
                texts.append(repr(lent))
                lent.ping()
        except redis.RedisError as error:
            texts += _written(error)
    assert len(texts) >= 4
    assert [text for text in texts if SECRET in text] == []


def test_check(settings: Settings) -> None:
    """`check` names each server and its address, also if it is unavailable, without credentials."""
    environment = ENVIRONMENT | {"REDIS_URL": next(url for url in REDIS_URLS.values() if url == settings.redis_url)}
    sentences = [finding.message for finding in check_all(environment, {})]
    assert [sentence for sentence in sentences if SECRET in sentence] == []
    assert any("http://127.0.0.1:1/way is unavailable" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("name", "value"), [("SECRET_KEY", "h2"), ("ANTIFRAUD_ADDRESS", "h2:h2@"), ("REDIS_URL", "h2")]
)
def test_invalid_secret(name: str, value: str) -> None:
    """The value of an invalid setting that may contain a secret is not repeated."""
    text = "\n".join(finding.message for finding in check_all(ENVIRONMENT | {name: value}, {}))
    assert f"{name} must be" in text
    assert "h2" not in text
