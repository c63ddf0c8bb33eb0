"""The settings: name, type, default, bounds, unit and meaning.

Each field is read once, from the variable with its name in capitals. All problems are reported together.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Self

from promo_api.config.reading import parse_setting, read_text
from promo_api.config.redis_url import RedisUrl
from promo_api.config.rules import find_problems
from promo_api.config.smtp_url import SmtpUrl
from promo_api.config.values import (
    KEY_MIN_CHARACTERS,
    PORT_MAX,
    Address,
    LogFormat,
    Network,
    Rate,
    parse_networks,
)

_ALL_INTERFACES = Address("0.0.0.0", 8080)  # noqa: S104 as a container does


class SettingsError(Exception):
    """The settings are invalid; `problems` are sentences."""

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
    formerly: str = "",
) -> Any:
    """Declare a setting, required without a default.

    `low` and `high` bound a number or the length of a text. `sentence` is for messages and docs/configuration.md;
    `formerly` is a deprecated name.
    """
    metadata = {"sentence": sentence, "unit": unit, "low": low, "high": high, "formerly": formerly}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one process."""

    postgres_username: str = setting("role of the service in PostgreSQL", "postgres", low=1)
    postgres_password: str = setting("password of that role; empty: none is needed", "", secret=True)
    postgres_password_file: str = setting("file with that password; used if POSTGRES_PASSWORD is empty", "")
    postgres_host: str = setting(
        "host of PostgreSQL, or the directory of its socket; of several, separated by commas, the writable one is used",
        "localhost",
        low=1,
    )
    postgres_port: str = setting("port of PostgreSQL; with several hosts one for all, or one for each", "5432")
    postgres_database: str = setting("name of the database", "promo", low=1)
    postgres_transaction_pooling: bool = setting(
        "whether PostgreSQL is behind a pooler in transaction mode, such as PgBouncer",
        default=False,
    )
    postgres_pool_size: int = setting(
        "connections per worker; 0: SERVER_THREADS + ANTIFRAUD_THREADS", 0, low=0, high=1000
    )
    postgres_pool_timeout_s: float = setting(
        "how long a request waits for a free connection of the pool", 3.0, unit="s", low=0.1, high=60
    )
    postgres_connect_timeout_s: int = setting("time limit for opening a connection", 3, unit="s", low=2, high=60)
    postgres_statement_timeout_s: float = setting("time limit for a statement", 5.0, unit="s", low=0.1, high=300)
    postgres_lock_timeout_s: float = setting("how long a statement waits for a lock", 3.0, unit="s", low=0.1, high=300)
    postgres_idle_transaction_timeout_s: float = setting(
        "after how long PostgreSQL ends an idle transaction", 10.0, unit="s", low=0.1, high=300
    )
    postgres_read_host: str = setting(
        "host of a replica of PostgreSQL for reads, or several, separated by commas; empty: all reads use the primary",
        "",
    )
    postgres_read_port: str = setting("port of the replica; with several hosts one for all, or one for each", "5432")
    redis_host: str = setting("host of Redis or Valkey", "localhost", low=1)
    redis_port: int = setting("port of Redis or Valkey", 6379, low=1, high=PORT_MAX)
    redis_url: str = setting(
        "URL of Redis or Valkey instead of host, port and password: one server, Sentinels or a Cluster",
        "",
        secret=True,
    )
    redis_password: str = setting("password of Redis or Valkey; empty: none is needed", "", secret=True)
    redis_password_file: str = setting("file with that password; used if REDIS_PASSWORD is empty", "")
    redis_timeout_s: float = setting(
        "time limit for connecting to Redis, and for each response", 0.5, unit="s", low=0.01, high=10
    )
    antifraud_address: str | None = setting(  # a URL may hold a password
        "the anti-fraud service: host:port, or a URL with http:// or https://; none: activations are not checked",
        secret=True,
    )
    antifraud_ca_file: str = setting(
        "PEM file of the CA certificates trusted for an https ANTIFRAUD_ADDRESS; empty: the public CAs", ""
    )
    antifraud_connect_timeout_s: float = setting(
        "time limit for connecting to the anti-fraud service", 1.0, unit="s", low=0.01, high=30
    )
    antifraud_read_timeout_s: float = setting(
        "time limit for a response of the anti-fraud service", 3.0, unit="s", low=0.01, high=30
    )
    antifraud_lease_timeout_s: float = setting(
        "how long an activation waits for the anti-fraud call of another activation of the same user",
        6.0,
        unit="s",
        low=0.01,
        high=120,
        formerly="ANTIFRAUD_TURN_TIMEOUT_S",
    )
    antifraud_breaker_failures: int = setting(
        "consecutive failures of the anti-fraud service that open the circuit breaker",
        5,
        low=1,
        high=1_000_000,
    )
    antifraud_breaker_cooldown_s: float = setting(
        "how long an open circuit breaker refuses activations before one of them probes the service",
        5.0,
        unit="s",
        low=0.01,
        high=3600,
    )
    antifraud_threads: int = setting(
        "threads per worker for activations, so that a slow anti-fraud service blocks no other requests",
        16,
        low=1,
        high=256,
    )
    smtp_url: str = setting(
        "URL of the mail server: smtp:// with STARTTLS if it is offered, or smtps://; empty: no mails are sent",
        "",
        secret=True,
    )
    smtp_url_file: str = setting("file with that URL; used if SMTP_URL is empty", "")
    smtp_ca_file: str = setting("PEM file of the CA certificates trusted for SMTP_URL; empty: the public CAs", "")
    smtp_timeout_s: float = setting(
        "time limit for connecting to the mail server, and for each response", 10.0, unit="s", low=0.1, high=60
    )
    mail_from: str = setting("sender of mails, such as Shop <noreply@shop.example>; required with SMTP_URL", "")
    password_reset_url: str = setting(
        "page that the link in a mail opens, with {token} and maybe {kind}, which is business or user; required with"
        " SMTP_URL",
        "",
    )
    server_address: Address = setting("host:port to listen on", _ALL_INTERFACES)  # noqa: RUF009 it makes a field
    server_workers: int = setting("worker processes", 2, low=1, high=64)
    server_threads: int = setting("threads per worker for other requests", 8, low=1, high=256)
    server_queue: int = setting(
        "requests that may wait in each thread pool of a worker; further ones get 503 at once",
        1024,
        low=1,
        high=100_000,
    )
    server_queue_timeout_s: float = setting(
        "how long a request waits for a thread before it gets 503", 5.0, unit="s", low=0.1, high=60
    )
    server_drain_s: int = setting(
        "how long the service still accepts connections after SIGTERM, while GET /api/health returns 503",
        0,
        unit="s",
        low=0,
        high=300,
    )
    server_stop_timeout_s: int = setting(
        "how long running requests may take to finish when the service stops", 20, unit="s", low=3, high=300
    )
    server_client_timeout_s: int = setting(
        "how long a client may take to send a request, to send each 64 KiB of a streamed one, or to read 64 KiB",
        30,
        unit="s",
        low=1,
        high=600,
    )
    server_connections_per_address: int = setting(
        "connections per client address and worker; 0: no limit; ignored with CLIENT_ADDRESS_HEADER",
        1000,
        low=0,
        high=1_000_000,
    )
    console: bool = setting("whether the console for companies is served, at /console/", default=True)
    cors_origins: str = setting(
        "origins whose pages may call the API from a browser, separated by commas; *: any; empty: only its own", ""
    )
    cors_headers: str = setting("further request headers that these pages may send, separated by commas", "")
    log_format: LogFormat = setting(  # noqa: RUF009 it makes a field
        "format of log lines: json, text, or dev: for development, with the paths of requests", LogFormat.JSON
    )
    metrics_address: Address | None = setting(  # noqa: RUF009 it makes a field
        "host:port that serves the metrics for Prometheus, at /metrics; empty: metrics are not served", None
    )
    health_timeout_s: float = setting(
        "how long GET /api/health waits for the dependencies", 1.0, unit="s", low=0.1, high=10
    )
    client_address_header: str = setting(
        "header in which a trusted proxy passes the client address; empty: the address of the connection is used",
        "",
    )
    failed_sign_ins_per_account: Rate = setting(  # noqa: RUF009 it makes a field
        "failed sign-ins to one account, times/seconds; 0: no limit", Rate(20, 900)
    )
    failed_sign_ins_per_address: Rate = setting(  # noqa: RUF009 it makes a field
        "failed sign-ins from one client address, times/seconds; 0: no limit. Raise it if many people share an address",
        Rate(300, 900),
    )
    sign_ins_per_account: Rate = setting(  # noqa: RUF009 it makes a field
        "successful sign-ins to one account, times/seconds; 0: no limit", Rate(1200, 600)
    )
    password_changes_per_user: Rate = setting(  # noqa: RUF009 it makes a field
        "password changes of one account, times/seconds; 0: no limit", Rate(30, 3600)
    )
    forgot_passwords_per_account: Rate = setting(  # noqa: RUF009 it makes a field
        "requests for a mail that resets the password of one account, times/seconds; 0: no limit", Rate(5, 3600)
    )
    forgot_passwords_per_address: Rate = setting(  # noqa: RUF009 it makes a field
        "requests for such mails from one client address, times/seconds; 0: no limit. Raise it if many people share an"
        " address",
        Rate(300, 3600),
    )
    failed_resets_per_address: Rate = setting(  # noqa: RUF009 it makes a field
        "refused password resets from one client address, times/seconds; 0: no limit", Rate(300, 900)
    )
    sign_ups_per_address: Rate = setting(  # noqa: RUF009 it makes a field
        "sign-ups from one client address, times/seconds; 0: no limit", Rate(20_000, 3600)
    )
    activations_per_user: Rate = setting(  # noqa: RUF009 it makes a field
        "activations of one user, granted or not, times/seconds; 0: no limit",
        Rate(6000, 600),
    )
    likes_per_user: Rate = setting(  # noqa: RUF009 it makes a field
        "likes and unlikes of one user, times/seconds; 0: no limit", Rate(20_000, 3600)
    )
    comments_per_user: Rate = setting(  # noqa: RUF009 it makes a field
        "new comments of one user, times/seconds; 0: no limit", Rate(5000, 3600)
    )
    reports_per_user: Rate = setting(  # noqa: RUF009 it makes a field
        "reports of comments by one user, times/seconds; 0: no limit", Rate(1000, 3600)
    )
    promos_per_company: Rate = setting(  # noqa: RUF009 it makes a field
        "new promos of one company, times/seconds; 0: no limit", Rate(50_000, 3600)
    )
    codes_per_company: Rate = setting(  # noqa: RUF009 it makes a field
        "new codes of one company, times/seconds; 0: no limit", Rate(5_000_000, 3600)
    )
    unknown_codes_per_company: Rate = setting(  # noqa: RUF009 it makes a field
        "unknown codes in requests of one company, times/seconds; 0: no limit",
        Rate(1000, 3600),
    )
    unknown_codes_per_key: Rate = setting(  # noqa: RUF009 it makes a field
        "unknown codes in requests with one API key, times/seconds; 0: no limit",
        Rate(300, 3600),
    )
    idempotency_keys_per_account: Rate = setting(  # noqa: RUF009 it makes a field
        "requests of one account with a new Idempotency-Key, times/seconds; 0: no limit", Rate(20_000, 3600)
    )
    idempotency_lifetime_h: int = setting(
        "how long the response to a request with an Idempotency-Key is stored", 24, unit="h", low=1, high=720
    )
    webhook_http_allowed: bool = setting(
        "whether webhooks may have http:// URLs, which anyone on the way can read; for tests", default=False
    )
    webhook_allowed_networks: str = setting(
        "private or special networks that webhooks may reach, such as 10.1.0.0/16, separated by commas; empty: none", ""
    )
    webhook_ca_file: str = setting("PEM file of the CA certificates trusted for webhooks; empty: the public CAs", "")
    events_days: int = setting("how long events are stored", 30, unit="days", low=1, high=3650)
    code_lists_memory_mib: int = setting(
        "memory per worker for cached code lists of UNIQUE promos",
        16,
        unit="MiB",
        low=0,
        high=65536,
    )
    validate_responses: bool = setting(
        "whether each response is validated against api.yml, and replaced by a 500 if invalid; for tests",
        default=False,
        formerly="CHECK_ANSWERS",
    )
    secret_key: str = setting(
        "key that signs tokens and cursors; of several, separated by commas, the first signs and all verify",
        low=KEY_MIN_CHARACTERS,
        secret=True,
    )
    secret_key_file: str = setting("file with that key; used if SECRET_KEY is empty", "")
    token_lifetime_h: int = setting("lifetime of a token", 12, unit="h", low=1, high=24)
    argon2_memory_kib: int = setting("memory of a password hash", 19456, unit="KiB", low=8, high=4194304)
    argon2_iterations: int = setting("iterations of a password hash", 2, low=1, high=100)
    argon2_parallelism: int = setting("parallelism of a password hash", 1, low=1, high=64)
    argon2_concurrency: int = setting("password hashes that a worker computes in parallel", 1, low=1, high=256)
    argon2_queue: int = setting(
        "requests per worker that may wait for a password hash; further ones get 503 at once", 64, low=1, high=1024
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read all settings. An empty value counts as not set.

        Raises:
            SettingsError: lists all problems, without values of secrets.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for declared in fields(cls):
            name = variable(declared)
            try:
                if text := read_text(name, declared.metadata["formerly"], environment):
                    values[declared.name] = parse_setting(declared, text)
                elif declared.default is MISSING:
                    problems.append(f"{name} is not set: {declared.metadata['sentence']}.")
            except ValueError as error:
                value = f" (it is {text!r})" if declared.repr else ""
                problems.append(f"{name} {error}{value}: {declared.metadata['sentence']}.")
        if problems:
            raise SettingsError(problems)
        settings = cls(**values)
        if problems := find_problems(settings):
            raise SettingsError(problems)
        return settings

    @property
    def replicas(self) -> list[tuple[str, str]]:
        """The host and port of each replica for reads."""
        hosts = self.postgres_read_host.split(",") if self.postgres_read_host else []
        ports = self.postgres_read_port.split(",")
        return list(zip(hosts, ports if len(ports) > 1 else ports * len(hosts), strict=True))

    @property
    def redis(self) -> RedisUrl:
        """The address and credentials of Redis."""
        if self.redis_url:
            return RedisUrl.parse(self.redis_url)
        return RedisUrl(hosts=((self.redis_host, self.redis_port),), password=self.redis_password or None)

    @property
    def smtp(self) -> SmtpUrl | None:
        """The address and credentials of the mail server; None: no mails are sent."""
        return SmtpUrl.parse(self.smtp_url) if self.smtp_url else None

    @property
    def antifraud_display_url(self) -> str:
        """The URL of the anti-fraud service without credentials, for messages."""
        return "none" if self.antifraud_address is None else re.sub("//[^/]*@", "//", self.antifraud_address)

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins that CORS allows."""
        return tuple(self.cors_origins.split(",")) if self.cors_origins else ()

    @property
    def cross_origin_headers(self) -> tuple[str, ...]:
        """The further request headers that CORS allows."""
        return tuple(self.cors_headers.split(",")) if self.cors_headers else ()

    @property
    def webhook_networks(self) -> tuple[Network, ...]:
        """The private or special networks that webhooks may reach."""
        return parse_networks(self.webhook_allowed_networks)

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The keys for tokens: the first signs, all verify."""
        return tuple(self.secret_key.split(","))

    @property
    def pool_size(self) -> int:
        """Connections to PostgreSQL per worker."""
        return self.postgres_pool_size or self.server_threads + self.antifraud_threads


def variable(declared: Field[Any]) -> str:
    """Return the variable of a field."""
    return declared.name.upper()


def deprecated_names(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the deprecated names in use, with their current names."""
    renamed = {declared.metadata["formerly"]: variable(declared) for declared in fields(Settings)}
    return {old: new for old, new in renamed.items() if old and environment.get(old)}


def known_names() -> set[str]:
    """Return the names of all settings, including deprecated names."""
    return {name for declared in fields(Settings) for name in (variable(declared), declared.metadata["formerly"])} - {
        ""
    }
