"""Variables that look like misspelt settings."""

import pytest

from promo_api.config.unknown_settings import describe_unknown_setting, find_unknown_settings
from tests.cases import all_cases
from tests.pages import ROOT

# Each misspelt name, and the setting that was meant.
_MISSPELT = {
    "SERVER_WORKER": "SERVER_WORKERS",
    "SEVER_WORKERS": "SERVER_WORKERS",
    "SERVER_ADRESS": "SERVER_ADDRESS",
    "SERVER_ADDR": "SERVER_ADDRESS",
    "ANTIFRAUD_ADRESS": "ANTIFRAUD_ADDRESS",
    "ANTI_FRAUD_ADDRESS": "ANTIFRAUD_ADDRESS",
    "POSTGRES_PASSWD": "POSTGRES_PASSWORD",
    "POSTGRESQL_HOST": "POSTGRES_HOST",
    "POSTGRES_POOLSIZE": "POSTGRES_POOL_SIZE",
    "postgres_host": "POSTGRES_HOST",
    "REDIS_URI": "REDIS_URL",
    "SECRETKEY": "SECRET_KEY",
    "SECRET_KEYS": "SECRET_KEY",
    "TOKEN_LIFETIME": "TOKEN_LIFETIME_H",
    "LOGFORMAT": "LOG_FORMAT",
    "METRIC_ADDRESS": "METRICS_ADDRESS",
    "CORS_ORIGIN": "CORS_ORIGINS",
    "HEALTH_TIMEOUT": "HEALTH_TIMEOUT_S",
    "ARGON_MEMORY_KIB": "ARGON2_MEMORY_KIB",
    "LIKES_PER_USERS": "LIKES_PER_USER",
}
# Names that other programs use: the images of PostgreSQL and Redis, Kubernetes and Docker for services with such names,
# CGI, systemd, Rails, shells.
_FOREIGN = """
    POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS POSTGRES_HOST_AUTH_METHOD POSTGRES_USER_FILE POSTGRES_DB_FILE
    REDIS_VERSION REDIS_DOWNLOAD_URL REDIS_TLS_URL POSTGRES_SERVICE_HOST POSTGRES_SERVICE_PORT POSTGRES_PORT_5432_TCP
    POSTGRES_PORT_5432_TCP_ADDR POSTGRES_NAME REDIS_SERVICE_HOST REDIS_SERVICE_PORT REDIS_PORT_6379_TCP REDIS_NAME
    ANTIFRAUD_SERVICE_HOST ANTIFRAUD_PORT ANTIFRAUD_PORT_9090_TCP SERVER_SERVICE_HOST SERVER_NAME SERVER_SOFTWARE
    SERVER_PROTOCOL SERVER_PORT SERVER_ADMIN LOG_LEVEL LOG_FILE RAILS_LOG_FORMAT SECRET_KEY_BASE DJANGO_SECRET_KEY
    CELERY_REDIS_URL GITHUB_TOKEN CLIENT_ID CLIENT_SECRET METRICS_PORT HEALTH_PORT DATABASE_URL PGHOST PGUSER PGSSLMODE
    INVOCATION_ID JOURNAL_STREAM LISTEN_FDS LISTEN_PID PATH HOME USER SHELL LANG TERM HOSTNAME LOGNAME XDG_RUNTIME_DIR
    DBUS_SESSION_BUS_ADDRESS KUBERNETES_SERVICE_HOST PROMETHEUS_MULTIPROC_DIR PYTHONPATH GPG_KEY HTTP_PROXY PROMO_API
    OWNER_USERNAME OWNER_PASSWORD PUBLISHED_PORT PUBLISHED_METRICS_PORT COMPOSE_PROJECT_NAME
"""


@all_cases(("name", "meant"), [*_MISSPELT.items()])
def test_misspelt_names(name: str, meant: str) -> None:
    """A misspelt name is found in the environment and in the file."""
    assert find_unknown_settings({name: "x"}, []) == {name: meant}
    assert find_unknown_settings({}, [name]) == {name: meant}


def test_names_of_other_programs() -> None:
    """Names that other programs use are no misspelt settings."""
    assert find_unknown_settings(dict.fromkeys(_FOREIGN.split(), "x"), []) == {}


def test_similar_to_a_setting_that_is_set() -> None:
    """In the environment, a name that is similar to a setting that is set belongs to another program."""
    assert find_unknown_settings({"REDIS_URI": "x", "REDIS_URL": "y"}, []) == {}


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("POSTGRES_USER", "POSTGRES_USERNAME"),
        ("POSTGRES_DB", "POSTGRES_DATABASE"),
        ("LOG_LEVEL", ""),
        ("SERVER_PORT", ""),
    ],
)
def test_names_in_the_file(name: str, similar: str) -> None:
    """In the file, a name that begins like a setting is found too."""
    assert find_unknown_settings({}, [name]) == {name: similar}


def test_file_of_the_containers() -> None:
    """The variables of .env that Compose reads, and those of .env.example, are known."""
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    names = [line.partition("=")[0] for line in example.splitlines() if line and not line.startswith("#")]
    names += ["OWNER_USERNAME", "OWNER_PASSWORD", "PUBLISHED_PORT", "PUBLISHED_METRICS_PORT", "REDIS_PASSWORD_FILE"]
    assert find_unknown_settings(dict.fromkeys(names, "x"), names) == {}


def test_sentences() -> None:
    """The sentence has the similar setting if there is one."""
    assert describe_unknown_setting("LOG_LEVEL", "") == "LOG_LEVEL is not a setting."
    assert describe_unknown_setting("X", "Y") == "X is not a setting. Did you mean Y?"
