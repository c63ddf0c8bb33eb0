"""The command `check`, in this process: messages, clocks and time zones."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from persistence.database.server import uses_utc
from promo_api.check import Level, _clocks, _Warning, check_all
from promo_api.config.settings import Settings
from promo_api.runtime import Runtime, utc_now
from promo_api.security.webhook_secrets import WebhookSecrets
from tests.integration.stored_webhooks import delete_all, store_webhook
from tests.mailbox import Mailbox

# What a message must not contain: names of classes, objects, error numbers, and levels of libpq.
_NOISE = re.compile(r"[A-Z][a-z]+(Error|Exception|Timeout)\b|<|0x|Errno|Error -?\d|_ssl|FATAL|\w\(")


@pytest.fixture(scope="module")
def hole() -> Iterator[str]:
    """The port of a server that accepts connections and does not respond."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


def _find(environment: dict[str, str], subject: str) -> tuple[Level, str]:
    """Return the finding about a subject, without the checks after it."""
    with closing(check_all(environment, {})) as findings:  # type: ignore[type-var]
        return next((each.level, each.message) for each in findings if each.subject == subject)


@pytest.mark.parametrize(
    ("subject", "changes", "message"),
    [
        ("PostgreSQL", {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "1"}, "connection refused"),
        ("PostgreSQL", {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "HOLE"}, "timeout"),
        ("PostgreSQL", {"POSTGRES_HOST": "nowhere.invalid"}, "nowhere.invalid"),
        ("PostgreSQL", {"POSTGRES_HOST": "/nowhere"}, "no such file"),
        ("PostgreSQL", {"POSTGRES_DATABASE": "missing"}, "missing"),
        ("PostgreSQL", {"POSTGRES_USERNAME": "nobody"}, "nobody"),
        ("Redis", {"REDIS_PORT": "1"}, "connection refused"),
        ("Redis", {"REDIS_PORT": "HOLE"}, "did not respond in time"),
        ("Redis", {"REDIS_HOST": "nowhere.invalid"}, "is unavailable"),
        ("Redis", {"REDIS_URL": "redis://bob:hunter2@127.0.0.1:REDIS"}, "refuses the user or the password"),
        ("Redis", {"REDIS_URL": "redis+sentinel://:hunter2@127.0.0.1:1,127.0.0.1:2/x"}, "no Sentinel knows a primary"),
        ("Redis", {"REDIS_URL": "redis+cluster://:hunter2@127.0.0.1:1"}, "connection refused"),
        ("Redis", {"REDIS_URL": "redis+cluster://127.0.0.1:REDIS"}, "cluster mode is not enabled"),
        ("anti-fraud", {"ANTIFRAUD_ADDRESS": "127.0.0.1:1"}, "connection refused"),
        (
            "mail",
            {"SMTP_URL": "smtp://bob:hunter2@127.0.0.1:1"},
            "does not accept mails: it is unavailable",
        ),
        ("mail", {"SMTP_URL": "smtp://127.0.0.1:HOLE", "SMTP_TIMEOUT_S": "0.2"}, "did not respond in time"),
        ("anti-fraud", {"ANTIFRAUD_ADDRESS": "nowhere.invalid:80"}, "is unavailable"),
        ("anti-fraud", {"ANTIFRAUD_ADDRESS": "https://STUB"}, "TLS failed"),
        ("anti-fraud", {"ANTIFRAUD_ADDRESS": "https://127.0.0.1:HOLE"}, "did not respond in time"),
    ],
)
def test_failures(environment: dict[str, str], hole: str, subject: str, changes: dict[str, str], message: str) -> None:
    """Each failure of a dependency is a plain sentence with what to check."""
    actual = {"HOLE": hole, "REDIS": environment["REDIS_PORT"], "STUB": environment["ANTIFRAUD_ADDRESS"]}
    replaced = {name: re.sub("|".join(actual), lambda match: actual[match[0]], text) for name, text in changes.items()}
    level, found = _find({**environment, "POSTGRES_CONNECT_TIMEOUT_S": "2", **replaced}, subject)
    assert level is Level.FAIL
    assert message in found
    assert not _NOISE.search(found), found
    assert "hunter2" not in found


@pytest.fixture
def open_runtime(runtime: Runtime, settings: Settings) -> Iterator[Callable[[float], Runtime]]:
    """Opens a runtime whose clock differs by some seconds."""
    assert runtime  # the schema exists
    opened: list[Runtime] = []

    def open_shifted(seconds: float) -> Runtime:
        opened.append(Runtime.open(settings, lambda: utc_now() + timedelta(seconds=seconds)))
        return opened[-1]

    yield open_shifted
    for each in opened:
        each.close()


def test_equal_clocks(open_runtime: Callable[[float], Runtime]) -> None:
    """Clocks of one machine do not differ."""
    assert _clocks(open_runtime(0)) == "PostgreSQL, Redis and this machine differ by less than 1 s."


@pytest.mark.parametrize(("seconds", "direction"), [(5, "behind"), (-5, "ahead of")])
def test_different_clocks(open_runtime: Callable[[float], Runtime], seconds: float, direction: str) -> None:
    """A different clock is a warning with the difference and what depends on it."""
    with pytest.raises(_Warning) as caught:
        _clocks(open_runtime(seconds))
    for server in ("PostgreSQL", "Redis"):
        assert re.search(rf"The clock of {server} is (4\.9|5\.[01]) s {direction} the clock of this", str(caught.value))
    assert "Synchronise the clocks" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "is_utc"),
    [
        *[
            (name, True)
            for name in ("UTC", "Etc/UTC", "Zulu", "GMT", "Etc/UCT", "Universal", "Atlantic/Reykjavik", "0")
        ],
        *[(name, False) for name in ("Europe/London", "Europe/Moscow", "America/New_York", "3")],
    ],
)
def test_names_of_utc(runtime: Runtime, name: str, *, is_utc: bool) -> None:
    """A time zone is UTC if it never differs from it, whatever its name."""
    with runtime.database.transaction() as connection:
        connection.execute(text(f"SET LOCAL TimeZone = '{name}'"))
        assert uses_utc(connection) is is_utc


def test_time_of_redis(runtime: Runtime) -> None:
    """The time of Redis has a time zone."""
    time: datetime = runtime.antifraud.read_cache_clock()
    assert abs((time - utc_now()).total_seconds()) < 60


def test_mail_server(environment: dict[str, str], mailbox: Mailbox) -> None:
    """An available mail server is reported without its password; without one, no mails are sent."""
    address = mailbox.url.removeprefix("smtp://")
    assert _find(environment, "mail") == (Level.OK, f"{address} is available.")
    level, message = _find(environment | {"SMTP_URL": ""}, "mail")
    assert (level, "no mails are sent" in message) == (Level.OK, True)


def test_secrets_of_webhooks(environment: dict[str, str], runtime: Runtime) -> None:
    """Secrets of an earlier SECRET_KEY are a warning, and those of a lost one a failure, without the secrets."""
    first = environment["SECRET_KEY"]
    earlier, lost = (WebhookSecrets([name * 32]).encrypt("whsec_hunter2") for name in "el")
    delete_all(runtime.database)
    assert _find(environment, "webhooks") == (Level.OK, "The first SECRET_KEY decrypts all their secrets.")
    expired = {"previous_secret": lost, "previous_until": utc_now() - timedelta(seconds=1)}
    webhook = store_webhook(runtime.database, secret=earlier, **expired)
    both = environment | {"SECRET_KEY": f"{first},{'e' * 32}"}
    level, message = _find(both, "webhooks")
    assert level is Level.WARN
    assert message.startswith("Secrets that an earlier SECRET_KEY encrypts: 1.")
    webhook.change(previous_until=utc_now() + timedelta(hours=1))
    level, message = _find(both, "webhooks")
    assert level is Level.FAIL
    assert message.startswith("Secrets that no SECRET_KEY decrypts: 1.")
    assert "hunter2" not in message
    delete_all(runtime.database)
