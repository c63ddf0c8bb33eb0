"""Redis URLs: valid and invalid ones, and passwords that are not shown."""

import pytest

from promo_api.config.redis_url import Mode, RedisUrl
from promo_api.config.settings import Settings, SettingsError
from tests.cases import all_cases

_REQUIRED = {"ANTIFRAUD_ADDRESS": "antifraud:9090", "SECRET_KEY": "a key for tests " * 3}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("redis://r", RedisUrl(hosts=(("r", 6379),))),
        ("redis://r:1/", RedisUrl(hosts=(("r", 1),))),
        ("redis://10.0.0.1:6380/3", RedisUrl(hosts=(("10.0.0.1", 6380),), path="3")),
        ("rediss://[::1]", RedisUrl(hosts=(("::1", 6379),), tls=True)),
        ("redis://:p%40ss@r", RedisUrl(hosts=(("r", 6379),), password="p@ss")),
        ("redis://u:p@r:1", RedisUrl(hosts=(("r", 1),), username="u", password="p")),
        (
            "redis+sentinel://:p@a,b:1/mymaster",
            RedisUrl(hosts=(("a", 26379), ("b", 1)), mode=Mode.SENTINEL, password="p", path="mymaster"),
        ),
        ("rediss+cluster://a,b:1", RedisUrl(hosts=(("a", 6379), ("b", 1)), mode=Mode.CLUSTER, tls=True)),
    ],
)
def test_urls(text: str, url: RedisUrl) -> None:
    """A URL is parsed; omitted parts have defaults."""
    assert RedisUrl.parse(text) == url


@all_cases(
    "text",
    [
        "r:6379",
        "redis://:hunter2@",
        "http://r",
        "redis://a,b",
        "redis://r:0",
        "redis://r:65536",
        "redis://r/x",
        "redis://r/0?x=1",
        "redis://secret@r",
        "redis://a@b:c@r",
        "redis+sentinel://a",
        "redis+sentinel:///mymaster",
        "redis+cluster://a/0",
        "redis+cluster://a,",
        "redis+other://a",
        "redis://a b",
        "redis://r\n",
    ],
)
def test_invalid_urls(text: str) -> None:
    """An invalid URL is a problem that shows the valid forms, and does not repeat the URL."""
    with pytest.raises(SettingsError, match=r"^REDIS_URL must be redis://HOST:PORT, ") as caught:
        Settings.from_environment(_REQUIRED | {"REDIS_URL": text})
    assert text not in str(caught.value)


def test_url_takes_precedence() -> None:
    """The URL takes precedence over host and port."""
    environment = _REQUIRED | {"REDIS_HOST": "old", "REDIS_PORT": "1"}
    assert str(Settings.from_environment(environment).redis) == "old:1"
    assert (
        str(Settings.from_environment(environment | {"REDIS_URL": "redis+cluster://a,[::1]:2"}).redis)
        == "a:6379,[::1]:2"
    )


def test_password_is_not_shown() -> None:
    """Neither the settings nor the parsed URL show the password."""
    settings = Settings.from_environment(_REQUIRED | {"REDIS_URL": "redis+sentinel://me:hunter2@a/mymaster"})
    assert settings.redis.password == "hunter2"
    assert "hunter2" not in f"{settings!r} {settings.redis!r} {settings.redis}"
    assert str(settings.redis) == "a:26379/mymaster"
