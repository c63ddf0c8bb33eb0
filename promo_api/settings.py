"""Every setting of the service: name, type, default, bound, unit and what it means.

A field of `Settings` is an environment variable of the same name in capitals. They are read once, at the start, and
everything that is wrong with them is told at once.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from promo_api.redis_url import RedisUrl
from promo_api.setting_values import KEY_MIN_CHARACTERS, PORT_MAX, Address, LogFormat, Rate, read_value

_ALL_INTERFACES = Address("0.0.0.0", 8080)  # noqa: S104 as a container does
_SETTINGS_WITH_FILE = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "SECRET_KEY")


class SettingsError(Exception):
    """Settings that can't be used.

    Attributes:
        problems: a sentence for each, in the order of the settings.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def setting(
    sentence: str,
    default: Any = MISSING,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    secret: bool = False,
) -> Any:
    """Declare a setting: `low` and `high` bound a number, or the length of a text, both inclusive."""
    metadata = {"sentence": sentence, "unit": unit, "low": low, "high": high}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one process."""

    postgres_username: str = setting("role of the service in PostgreSQL", "postgres", low=1)
    postgres_password: str = setting("password of that role; empty: the server asks for none", "", secret=True)
    postgres_password_file: str = setting("file with that password, read if POSTGRES_PASSWORD is empty", "")
    postgres_host: str = setting(
        "host of PostgreSQL, or the folder of its socket; several, with commas: the one that takes writes is used",
        "localhost",
        low=1,
    )
    postgres_port: str = setting("port of PostgreSQL; of several hosts one for all, or one for each", "5432")
    postgres_database: str = setting("name of the database", "promo", low=1)
    postgres_transaction_pooling: bool = setting(
        "whether PostgreSQL is behind a pooler that lends connections by the transaction, as PgBouncer does",
        default=False,
    )
    postgres_pool_size: int = setting(
        "connections that a worker keeps; 0: one for each of SERVER_THREADS and ANTIFRAUD_THREADS", 0, low=0, high=1000
    )
    postgres_pool_timeout_s: float = setting(
        "how long a request waits for a free connection", 3.0, unit="s", low=0.1, high=60
    )
    postgres_connect_timeout_s: int = setting("how long a new connection may take", 3, unit="s", low=2, high=60)
    postgres_statement_timeout_s: float = setting("how long a statement may run", 5.0, unit="s", low=0.1, high=300)
    postgres_lock_timeout_s: float = setting("how long a statement waits for a row", 3.0, unit="s", low=0.1, high=300)
    postgres_idle_transaction_timeout_s: float = setting(
        "after how long PostgreSQL ends a transaction that does nothing", 10.0, unit="s", low=0.1, high=300
    )
    redis_host: str = setting("host of Redis or Valkey", "localhost", low=1)
    redis_port: int = setting("port of Redis or Valkey", 6379, low=1, high=PORT_MAX)
    redis_url: str = setting(
        "Redis or Valkey by URL, in place of host, port and password: one server, Sentinels or a Cluster",
        "",
        secret=True,
    )
    redis_password: str = setting("password of Redis or Valkey; empty: none is sent", "", secret=True)
    redis_password_file: str = setting("file with that password, read if REDIS_PASSWORD is empty", "")
    redis_timeout_s: float = setting(
        "how long Redis may take to connect or to answer", 0.5, unit="s", low=0.01, high=10
    )
    antifraud_address: str = setting(  # a URL may hold a password
        "the anti-fraud service: host:port, or a URL with http:// or https://", secret=True
    )
    antifraud_ca_file: str = setting(
        "PEM file with the CA certificates to trust for an https ANTIFRAUD_ADDRESS; empty: the public CAs", ""
    )
    antifraud_connect_timeout_s: float = setting(
        "how long a connection to the anti-fraud service may take", 1.0, unit="s", low=0.01, high=30
    )
    antifraud_read_timeout_s: float = setting(
        "how long the anti-fraud service may take to answer", 3.0, unit="s", low=0.01, high=30
    )
    antifraud_turn_timeout_s: float = setting(
        "how long an activation waits while another one asks about the same user", 6.0, unit="s", low=0.01, high=120
    )
    antifraud_breaker_failures: int = setting(
        "after how many activations in a row without an answer of the anti-fraud service a worker asks no more",
        5,
        low=1,
        high=1_000_000,
    )
    antifraud_breaker_cooldown_s: float = setting(
        "for how long a worker then refuses activations, before one of them tries again",
        5.0,
        unit="s",
        low=0.01,
        high=3600,
    )
    antifraud_threads: int = setting(
        "activations that a worker handles at once; the anti-fraud service may keep them waiting, but nobody else",
        16,
        low=1,
        high=256,
    )
    server_address: Address = setting("host:port to listen on", _ALL_INTERFACES)  # noqa: RUF009 it makes a field
    server_workers: int = setting("processes that serve", 2, low=1, high=64)
    server_threads: int = setting("other requests that a worker handles at once", 8, low=1, high=256)
    server_queue: int = setting(
        "requests that wait in each thread pool of a worker; beyond it they get 503 at once", 1024, low=1, high=100_000
    )
    server_queue_timeout_s: float = setting(
        "how long a request waits for a thread; then it gets 503", 5.0, unit="s", low=0.1, high=60
    )
    server_drain_s: int = setting(
        "how long the service goes on accepting connections after SIGTERM, while GET /api/health returns 503",
        0,
        unit="s",
        low=0,
        high=300,
    )
    server_stop_timeout_s: int = setting(
        "how long running requests may take to end once the service is asked to stop", 20, unit="s", low=3, high=300
    )
    server_client_timeout_s: int = setting(
        "how long a client may take to send a request; or to take 64 KiB of an answer, or what is left of it",
        30,
        unit="s",
        low=1,
        high=600,
    )
    server_connections_per_address: int = setting(
        "connections of one client address to a worker; 0: no limit; not used with CLIENT_ADDRESS_HEADER",
        1000,
        low=0,
        high=1_000_000,
    )
    cors_origins: str = setting(
        "origins whose pages browsers may let call the API, with commas; *: any; empty: none but its own", ""
    )
    log_format: LogFormat = setting(  # noqa: RUF009 it makes a field
        "how log lines are written: json for programs, text for people", LogFormat.JSON
    )
    metrics_address: Address | None = setting(  # noqa: RUF009 it makes a field
        "host:port on which Prometheus gets the metrics, at /metrics; empty: nowhere", None
    )
    health_timeout_s: float = setting(
        "how long GET /api/health waits for what the service needs", 1.0, unit="s", low=0.1, high=10
    )
    client_address_header: str = setting(
        "header in which a proxy tells the address of the client; empty: no proxy is trusted, and connections tell it",
        "",
    )
    failed_sign_ins_per_account: Rate = setting(  # noqa: RUF009 it makes a field
        "how often one may fail to sign in to an account, times/seconds; 0: no limit", Rate(20, 900)
    )
    failed_sign_ins_per_address: Rate = setting(  # noqa: RUF009 it makes a field
        "failed sign-ins from one client address, times/seconds; 0: no limit. Raise it where many share an address",
        Rate(300, 900),
    )
    sign_ins_per_account: Rate = setting(  # noqa: RUF009 it makes a field
        "successful sign-ins to one account, times/seconds; 0: no limit", Rate(1200, 600)
    )
    password_changes_per_user: Rate = setting(  # noqa: RUF009 it makes a field
        "changes of a user's password, times/seconds; 0: no limit", Rate(30, 3600)
    )
    sign_ups_per_address: Rate = setting(  # noqa: RUF009 it makes a field
        "how often clients of one address may try to sign up, times/seconds; 0: no limit", Rate(20_000, 3600)
    )
    activations_per_user: Rate = setting(  # noqa: RUF009 it makes a field
        "how often a user may try to activate promos, times/seconds; 0: no limit, and nothing is counted",
        Rate(6000, 600),
    )
    likes_per_user: Rate = setting(  # noqa: RUF009 it makes a field
        "likes that a user gives or takes back, times/seconds; 0: no limit", Rate(20_000, 3600)
    )
    comments_per_user: Rate = setting(  # noqa: RUF009 it makes a field
        "comments that a user writes, times/seconds; 0: no limit", Rate(5000, 3600)
    )
    promos_per_company: Rate = setting(  # noqa: RUF009 it makes a field
        "promos that a company creates, times/seconds; 0: no limit", Rate(50_000, 3600)
    )
    codes_per_company: Rate = setting(  # noqa: RUF009 it makes a field
        "codes of UNIQUE promos that a company creates, times/seconds; 0: no limit", Rate(5_000_000, 3600)
    )
    idempotency_keys_per_account: Rate = setting(  # noqa: RUF009 it makes a field
        "requests of an account with a new Idempotency-Key, times/seconds; 0: no limit", Rate(20_000, 3600)
    )
    idempotency_lifetime_h: int = setting(
        "how long the answer to a request with an Idempotency-Key is kept", 24, unit="h", low=1, high=720
    )
    code_lists_memory_mib: int = setting(
        "memory in which a worker keeps the lists of UNIQUE promos that it has read last",
        16,
        unit="MiB",
        low=0,
        high=65536,
    )
    check_answers: bool = setting(
        "whether every answer is held against api.yml too, and is a 500 where it breaks it; for tests", default=False
    )
    secret_key: str = setting(
        "the key that signs tokens; several, with commas: the first one signs, and tokens of all count",
        low=KEY_MIN_CHARACTERS,
        secret=True,
    )
    secret_key_file: str = setting("file that holds this key, read where SECRET_KEY is not given", "")
    token_lifetime_h: int = setting("how long a token is good for", 12, unit="h", low=1, high=24)
    argon2_memory_kib: int = setting("memory of a password hash", 19456, unit="KiB", low=8, high=4194304)
    argon2_iterations: int = setting("passes of a password hash over its memory", 2, low=1, high=100)
    argon2_parallelism: int = setting("lanes of a password hash", 1, low=1, high=64)
    argon2_concurrency: int = setting("password hashes that a worker computes at once", 1, low=1, high=256)
    argon2_queue: int = setting(
        "requests that wait in a worker for a password hash; beyond it they get 503 at once", 64, low=1, high=1024
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read all settings.

        Args:
            environment: values by variable name; an empty value counts as not given, other names are ignored.

        Raises:
            SettingsError: with every problem there is, never with a secret's value.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for declared in fields(cls):
            name = variable(declared)
            try:
                if text := environment.get(name, "") or _read_file(name, environment):
                    values[declared.name] = _read(declared, text)
                elif declared.default is MISSING:
                    problems.append(f"{name} is not set: {declared.metadata['sentence']}.")
            except ValueError as error:
                shown = f" (it is {text!r})" if declared.repr else ""
                problems.append(f"{name} {error}{shown}: {declared.metadata['sentence']}.")
        if problems:
            raise SettingsError(problems)
        settings = cls(**values)
        if settings.postgres_port.count(",") not in (0, settings.postgres_host.count(",")):
            raise SettingsError(["POSTGRES_PORT must be one port for all hosts of POSTGRES_HOST, or one for each."])
        return settings

    @property
    def redis(self) -> RedisUrl:
        """Where Redis is."""
        if self.redis_url:
            return RedisUrl.read(self.redis_url)
        return RedisUrl(hosts=((self.redis_host, self.redis_port),), password=self.redis_password or None)

    @property
    def antifraud_place(self) -> str:
        """Where the anti-fraud service is, for people: its URL without user and password."""
        return re.sub("//[^/]*@", "//", self.antifraud_address)

    @property
    def origins(self) -> tuple[str, ...]:
        """Whose pages may call the API."""
        return tuple(self.cors_origins.split(",")) if self.cors_origins else ()

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The keys of tokens: the first one signs, each one verifies."""
        return tuple(self.secret_key.split(","))

    @property
    def pool_size(self) -> int:
        """Connections to PostgreSQL that a worker keeps."""
        return self.postgres_pool_size or self.server_threads + self.antifraud_threads


def variable(declared: Field[Any]) -> str:
    """Return the name of the environment variable of a field of `Settings`."""
    return declared.name.upper()


def _read_file(name: str, environment: Mapping[str, str]) -> str:
    """Return the content of the file that NAME_FILE names; empty if the setting has no file."""
    file = environment.get(f"{name}_FILE", "") if name in _SETTINGS_WITH_FILE else ""
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"can't be read from {file}, {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError:
        # Its message would repeat a piece of the file.
        raise ValueError(f"can't be read from {file}, which is not UTF-8") from None


def _read(declared: Field[Any], text: str) -> Any:
    value = read_value(declared.name, declared.type, text)
    low, high = declared.metadata["low"], declared.metadata["high"]
    measured = len(value) if isinstance(value, str) else value
    noun = " characters long" if isinstance(value, str) else ""
    if low is not None and measured < low:
        raise ValueError(f"must be at least {low}{noun}")
    if high is not None and measured > high:
        raise ValueError(f"must be at most {high}{noun}")
    return value
