"""The command `check`: one finding for each thing that the service needs."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import starmap

import redis

from persistence.database.cluster import find_node_problems, find_nodes, has_citus
from persistence.database.engine import Database, session_settings
from persistence.database.errors import MissingPrivilege, StatementRefused
from persistence.database.revisions import find_revision, newest_revision
from persistence.database.server import (
    find_settings,
    find_time,
    find_version,
    prepare_long_read,
    takes_writes,
    uses_utc,
)
from persistence.database.statements import is_distributed
from persistence.database.timeouts import unlimited_transaction
from persistence.distribution import find_group_problems, list_undistributed_tables
from persistence.webhooks.upkeep import FIRST_WEBHOOK, list_secrets
from promo_api.antifraud.checks import DISABLED, Antifraud
from promo_api.app import create_app
from promo_api.clocks import measure_difference_s
from promo_api.config.settings import Settings, SettingsError, deprecated_names
from promo_api.config.unknown_settings import describe_unknown_setting
from promo_api.contract.application import BrokenContract
from promo_api.errors import ServiceUnavailable
from promo_api.failure_messages import describe_failure
from promo_api.mail.smtp import Mailer, MailError
from promo_api.replica_check import find_problem
from promo_api.runtime import Runtime
from promo_api.stored_counts import count_mismatches

_MAIL_REASONS = {
    "unavailable": "it is unavailable. Check SMTP_URL",
    "timeout": "it did not respond in time",
    "disconnected": "it closed the connection",
    "login_failed": "it refuses the user or the password in SMTP_URL",
    "not_supported": "it does not offer STARTTLS, or no sign-in",
    "tls_failed": "its certificate is not trusted, or it does not use TLS. Check SMTP_CA_FILE",
}


class Level(StrEnum):
    """The severity of a finding. Only FAIL makes `check` fail."""

    OK = "ok"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    subject: str
    level: Level
    message: str


class _Problem(Exception):
    """A failed check."""

    level = Level.FAIL


class _Warning(_Problem):
    """Something works, but should be changed."""

    level = Level.WARN


def check_all(
    environment: Mapping[str, str], unknown: Mapping[str, str], subjects: Collection[str] = ()
) -> Iterator[Finding]:
    """Check the settings and the subjects. `counts` reads whole tables, without a time limit.

    Args:
        environment: the settings.
        unknown: names that look like misspelt settings, with the most similar setting.
        subjects: empty: all.
    """
    warnings = [f"{old} is now called {new}." for old, new in deprecated_names(environment).items()]
    warnings += starmap(describe_unknown_setting, unknown.items())
    try:
        settings = Settings.from_environment(environment)
    except SettingsError as error:
        yield Finding("settings", Level.FAIL, " ".join([*error.problems, *warnings]))
        return
    yield Finding("settings", Level.WARN if warnings else Level.OK, " ".join(["All are valid.", *warnings]))
    runtime = Runtime.open(settings)
    try:
        for subject in subjects or SUBJECTS:
            check = _CHECKS[subject]
            try:
                yield Finding(subject, Level.OK, check(runtime))
            except _Problem as error:
                yield Finding(subject, error.level, str(error))
            except MissingPrivilege as error:
                yield Finding(subject, Level.FAIL, f"Unknown, because {describe_failure(error)}")
            except StatementRefused:
                yield Finding(subject, Level.FAIL, "Unknown, because PostgreSQL refuses a statement. See its log.")
    finally:
        runtime.close()


def _passwords(runtime: Runtime) -> str:
    memory_kib, iterations = runtime.settings.argon2_memory_kib, runtime.settings.argon2_iterations
    cost = f"ARGON2_MEMORY_KIB={memory_kib} with ARGON2_ITERATIONS={iterations}"
    if any(memory_kib >= memory and iterations >= passes for memory, passes in _ARGON2_MINIMUM):
        return f"{cost} is at least what OWASP recommends."
    advice = " or ".join(f"{memory} with {passes}" for memory, passes in _ARGON2_MINIMUM)
    raise _Warning(f"{cost} is below OWASP's minimum, which is {advice}.")


def _specification(runtime: Runtime) -> str:
    try:
        create_app(runtime)
    except BrokenContract as error:
        raise _Problem(str(error)) from error
    return "Each operation of api.yml has a handler."


def _postgresql(runtime: Runtime) -> str:
    address = _postgresql_address(runtime.settings)
    try:
        with runtime.database.autocommit() as connection:
            expected = session_settings(runtime.settings, distributed=is_distributed(connection))
            version, actual = find_version(connection), find_settings(connection, expected)
            is_utc, is_writable = uses_utc(connection), takes_writes(connection)
    except ServiceUnavailable as error:
        raise _Problem(f"{address} is unavailable: {describe_failure(error)}") from error
    if not is_writable:
        raise _Problem(f"{address} is available, but read-only.")
    if is_utc:
        actual["TimeZone"] = expected["TimeZone"]  # another name of UTC
    wrong = [f"{name} is {value} and not {expected[name]}" for name, value in actual.items() if value != expected[name]]
    if wrong:
        raise _Problem(
            f"{address} is available, but its sessions do not have the configured settings: {', '.join(wrong)}."
        )
    return f"{address} is available, version {version}."


def _schema(runtime: Runtime) -> str:
    needed = newest_revision()
    try:
        with runtime.database.autocommit() as connection:
            current = find_revision(connection)
    except ServiceUnavailable as error:
        raise _Problem("Unknown, because PostgreSQL is unavailable.") from error
    if current is None or current < needed:
        raise _Problem(
            f"It is at {current or 'no revision'}, and this version needs {needed}. Run python -m promo_api migrate."
        )
    return f"It is at {current}, {'as' if current == needed else 'and newer than'} this version needs."


def _cluster(runtime: Runtime) -> str:
    try:
        with runtime.database.unlimited() as connection:
            if not has_citus(connection):
                return "The database has no extension citus, so one server has all tables."
            undistributed, nodes = list_undistributed_tables(connection), find_nodes(connection)
            problems = [*find_group_problems(connection), *find_node_problems(connection)]
    except ServiceUnavailable as error:
        raise _Problem(f"Unknown, because a server is unavailable: {describe_failure(error)}") from error
    if problems:
        raise _Problem(" ".join(problems))
    if undistributed:
        raise _Warning(
            f"These tables are not distributed: {', '.join(undistributed)}. Run python -m promo_api distribute."
        )
    return f"All tables are distributed. The servers have all shards: {', '.join(map(str, nodes))}."


def _replicas(runtime: Runtime) -> str:
    """A replica that is not used is a warning: the service works without it."""
    replicas = runtime.settings.replicas
    if not replicas:
        return "POSTGRES_READ_HOST is not set, so all reads use the primary."
    try:
        with runtime.database.autocommit() as connection:
            if has_citus(connection):
                raise _Problem("A Citus cluster has no replicas that show own writes. Unset POSTGRES_READ_HOST.")
        problems = {
            f"{host}:{port}": find_problem(runtime.settings, runtime.database, host, port) for host, port in replicas
        }
    except ServiceUnavailable as error:
        raise _Problem("Unknown, because PostgreSQL is unavailable.") from error
    sentences = [f"The replica {address} {problem}" for address, problem in problems.items() if problem]
    if sentences:
        raise _Warning(" ".join(sentences))
    return f"In use: {', '.join(problems)}."


def _redis(runtime: Runtime) -> str:
    address = runtime.settings.redis
    try:
        runtime.antifraud.ping_cache()
    except redis.RedisError as error:
        raise _Problem(f"{address} is unavailable: {describe_failure(error)}") from error
    return f"{address} is available."


def _mail(runtime: Runtime) -> str:
    url = runtime.settings.smtp
    if url is None:
        return "SMTP_URL is not set, so no mails are sent, and only an operator can reset a password."
    try:
        Mailer(runtime.settings, url).ping()
    except MailError as error:
        raise _Problem(f"{url} does not accept mails: {_MAIL_REASONS.get(error.reason, error.reason)}.") from error
    return f"{url} is available."


def _clocks(runtime: Runtime) -> str:
    readers: dict[str, Callable[[], datetime]] = {
        "PostgreSQL": partial(_read_postgres_clock, runtime.database),
        "Redis": runtime.antifraud.read_cache_clock,
    }
    unknown: list[str] = []
    wrong: list[str] = []
    for server, read in readers.items():
        try:
            seconds = measure_difference_s(read, runtime.clock)
        except (ServiceUnavailable, redis.RedisError):
            unknown.append(f"The clock of {server} is unknown, because {server} is unavailable.")
            continue
        if abs(seconds) > _CLOCK_DIFFERENCE_MAX_S:
            direction = "ahead of" if seconds > 0 else "behind"
            wrong.append(f"The clock of {server} is {abs(seconds):.1f} s {direction} the clock of this machine.")
    if wrong or unknown:
        raise _Warning(" ".join([*unknown, *wrong, *([_CLOCK_ADVICE] if wrong else [])]))
    return f"PostgreSQL, Redis and this machine differ by less than {_CLOCK_DIFFERENCE_MAX_S} s."


def _read_postgres_clock(database: Database) -> datetime:
    with database.autocommit() as connection:
        return find_time(connection)


def _antifraud(runtime: Runtime) -> str:
    if not isinstance(runtime.antifraud, Antifraud):
        raise _Warning(DISABLED)
    address = runtime.settings.antifraud_display_url
    try:
        runtime.antifraud.ping_service()
    except OSError as error:
        raise _Problem(f"{address} is unavailable: {describe_failure(error)}") from error
    return f"{address} is available."


def _breakers(runtime: Runtime) -> str:
    if not isinstance(runtime.antifraud, Antifraud):
        return "There is none, because there is no anti-fraud service."
    try:
        open_breakers = runtime.antifraud.list_open_breakers()
    except redis.RedisError as error:
        raise _Problem("Unknown, because Redis is unavailable.") from error
    if open_breakers:
        processes = ", ".join(f"{process} until {until:%Y-%m-%d %H:%M:%S} UTC" for process, until in open_breakers)
        raise _Problem(
            f"The anti-fraud service failed repeatedly. The breaker is open and denies activations in {processes}."
        )
    return "None is open. Each process calls the anti-fraud service."


def _webhooks(runtime: Runtime) -> str:
    secrets, unreadable, outdated, after = runtime.webhook_secrets, 0, 0, FIRST_WEBHOOK
    try:
        with runtime.database.autocommit() as connection:
            while page := list_secrets(connection, after=after, limit=_SECRETS_PER_PAGE):
                after = (page[-1].company_id, page[-1].id)
                stored = [secret for each in page for secret in (each.secret, each.previous_secret) if secret]
                unreadable += sum(secrets.decrypt(secret) is None for secret in stored)
                outdated += sum(secrets.reencrypt(secret) is not None for secret in stored)
    except ServiceUnavailable as error:
        raise _Problem("Unknown, because PostgreSQL or its schema is unavailable.") from error
    if unreadable:
        raise _Problem(
            f"Secrets that no SECRET_KEY decrypts: {unreadable}. Their webhooks get nothing. Add the SECRET_KEY that is"
            " missing, or ask the companies to rotate these secrets."
        )
    if outdated:
        raise _Warning(
            f"Secrets that an earlier SECRET_KEY encrypts: {outdated}. Keep that key until the service has encrypted"
            " them with the first key."
        )
    return "The first SECRET_KEY decrypts all their secrets."


def _counts(runtime: Runtime) -> str:
    try:
        with runtime.database.translated(), unlimited_transaction(runtime.database.engine) as connection:
            prepare_long_read(connection)
            mismatches = count_mismatches(connection)
    except ServiceUnavailable as error:
        raise _Problem("Unknown, because PostgreSQL or its schema is unavailable.") from error
    wrong = [f"{name} (for {number})" for name, number in mismatches.items() if number]
    if wrong:
        raise _Problem(f"These stored counts differ from a recount: {', '.join(wrong)}.")
    return f"These stored counts agree with a recount: {', '.join(mismatches)}."


def _postgresql_address(settings: Settings) -> str:
    return f"{settings.postgres_host}:{settings.postgres_port}/{settings.postgres_database}"


_SECRETS_PER_PAGE = 1000
_CLOCK_DIFFERENCE_MAX_S = 1
_CLOCK_ADVICE = (
    "Synchronise the clocks, for example with systemd-timesyncd: tokens, cached verdicts and the periods of promos end"
    " by the clock."
)
# Memory in KiB, and iterations: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
_ARGON2_MINIMUM = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))
_CHECKS: dict[str, Callable[[Runtime], str]] = {
    "passwords": _passwords,
    "specification": _specification,
    "PostgreSQL": _postgresql,
    "schema": _schema,
    "cluster": _cluster,
    "replicas": _replicas,
    "Redis": _redis,
    "clocks": _clocks,
    "anti-fraud": _antifraud,
    "breakers": _breakers,
    "mail": _mail,
    "webhooks": _webhooks,
    "counts": _counts,
}
SUBJECTS = tuple(_CHECKS)
