"""The commands of docs/deployment.md, run as written except for names and addresses."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from persistence.database.engine import Database
from promo_api.config.settings import Settings
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.postgres_programs import program
from promo_api.sweeper import (
    account_deletions_sweeper,
    earlier_events_sweeper,
    expired_responses_sweeper,
    feed_changes_sweeper,
)
from tests.deployment_page import block
from tests.e2e.all_operations import AllOperations
from tests.e2e.environment import assert_no_secrets
from tests.e2e.server import Server, run_command
from tests.mailbox import Mailbox

_ROOT = Path(__file__).parents[2]
_HOST = "127.0.0.1"
_START_S, _END_S = 20, 10
_READ_ONLY = ("account_events", "account_log", "alembic_version", "promo_changes")
# A table of a later release, and statements that the role of the service may not run.
_LATER_TABLE = "CREATE TABLE later (id bigint)"
_FORBIDDEN = [
    "CREATE TABLE more (id bigint)",
    "CREATE TEMPORARY TABLE more (id bigint)",
    "CREATE SCHEMA more",
    "ALTER TABLE users ADD COLUMN more bigint",
    "ALTER ROLE promo_owner PASSWORD 'x'",
    "CREATE INDEX ON users (name)",
    "DROP TABLE likes",
    "TRUNCATE likes",
    "UPDATE promo_changes SET number = 1",
    "UPDATE promo_changes SET changed_at = now()",
    "DELETE FROM promo_changes",
    "TRUNCATE promo_changes",
    "INSERT INTO promo_changes (promo_id, number, company_id, event, changed_at) VALUES (NULL, 1, NULL, 'x', now())",
    "UPDATE account_log SET account_id = id",
    "UPDATE account_log SET happened_at = now()",
    "DELETE FROM account_log",
    "TRUNCATE account_log",
    "INSERT INTO account_log (event, happened_at) VALUES ('signed_in', '2020-01-01')",
    "INSERT INTO account_log (account_id, id, event) VALUES (event_id(), event_id(), 'signed_in')",
    "ALTER TABLE account_log DISABLE TRIGGER ALL",
    "UPDATE account_events SET user_id = company_id",
    "DELETE FROM account_events",
    "TRUNCATE account_events",
    "INSERT INTO account_events (event, happened_at) VALUES ('signed_in', '2020-01-01')",
    "INSERT INTO account_events (id, event) OVERRIDING SYSTEM VALUE VALUES (0, 'signed_in')",
    "ALTER TABLE account_events DISABLE TRIGGER ALL",
    "UPDATE alembic_version SET version_num = '0001'",
    "CREATE FUNCTION public.more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "COPY users TO PROGRAM 'cat'",
    "SET ROLE promo_owner",
]
_SUDO = 'set -eu\nsudo() { shift 2; "$@"; }\n'


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    """A new server."""
    # Not in pytest's folder: another run of pytest makes it inaccessible to PostgreSQL's user.
    with (
        TemporaryDirectory(prefix="promo-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server,
    ):
        yield server


def _administer(
    postgres: EmbeddedPostgres, statements: str, *, database: str = "postgres", role: str | None = None
) -> None:
    place: dict[str, Any] = {"host": postgres.host, "port": postgres.port, "user": role or postgres.username}
    with psycopg.connect(**place, dbname=database, autocommit=True) as connection:
        for statement in filter(str.strip, statements.split(";")):
            connection.execute(statement.encode())


def _rights(postgres: EmbeddedPostgres) -> dict[str, list[str]]:
    """Return the rights of the service's role by table, for the tables that it cannot freely change."""
    statement = (
        "SELECT table_name, array_agg(privilege_type::text ORDER BY 1) FROM information_schema.role_table_grants"
    )
    place: dict[str, Any] = {"host": postgres.host, "port": postgres.port, "user": "promo", "dbname": "promo"}
    with psycopg.connect(**place) as connection:
        rights = dict(connection.execute(f"{statement} WHERE grantee = 'promo' GROUP BY table_name").fetchall())
    return {table: names for table, names in rights.items() if len(names) < 4}


def _run(postgres: EmbeddedPostgres, commands: str, folder: Path, *, role: str | None = None) -> None:
    place = {"PGHOST": postgres.host, "PGPORT": str(postgres.port), "PGUSER": role or postgres.username}
    path = f"{program('psql').parent}:{os.environ['PATH']}"
    subprocess.run(
        ["/bin/bash", "-c", _SUDO + commands],
        env=os.environ | place | {"PATH": path},
        cwd=folder,
        check=True,
        timeout=60,
    )


def _settings(postgres: EmbeddedPostgres) -> dict[str, str]:
    return {
        "POSTGRES_HOST": postgres.host,
        "POSTGRES_PORT": str(postgres.port),
        "POSTGRES_USERNAME": "promo",
        "POSTGRES_PASSWORD": "change-me",
        "POSTGRES_DATABASE": "promo",
        "POSTGRES_TRANSACTION_POOLING": "true",
    }


def test_role_limits_backup_and_restore(
    postgres: EmbeddedPostgres, environment: dict[str, str], tmp_path: Path
) -> None:
    """A role that owns its database, with its limits, is sufficient; a restored database is complete."""
    _administer(postgres, block("sql role"))
    _administer(postgres, block("sql limits"))
    settings = environment | _settings(postgres)
    with Server(settings, tmp_path) as server:
        user, promo_id = server.accounts.sign_up_user(), server.accounts.sign_up_company().create_promo()
        assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
        _run(postgres, block("sh backup"), tmp_path)
        server.end()
        _, create = block("sql role").splitlines()
        _administer(postgres, f"DROP DATABASE promo; {create}")
        _run(postgres, block("sh restore"), tmp_path)
        _administer(postgres, block("sql limits"))
        checked = run_command(settings, "check", folder=tmp_path)
        assert checked.returncode == 0, checked.stdout
        server.start()
        assert user.get("/user/promo/history").headers["X-Total-Count"] == "1"
    assert_no_secrets(server)


@pytest.mark.parametrize("role", [None, "promo_owner"], ids=["superuser", "owner"])
def test_two_roles(
    postgres: EmbeddedPostgres, environment: dict[str, str], mailbox: Mailbox, tmp_path: Path, role: str | None
) -> None:
    """The rights of grants.sql suffice for all operations, sweepers and commands; other statements are refused."""
    _administer(postgres, block("sql role"))
    _administer(postgres, block("sql limits"))
    settings = environment | _settings(postgres)
    assert run_command(settings, "migrate", folder=tmp_path).returncode == 0
    _administer(postgres, block("sql owner"), database="promo")
    _run(postgres, block("sh grants"), _ROOT, role=role)
    _administer(postgres, _LATER_TABLE, database="promo", role="promo_owner")
    server = Server(settings, tmp_path)
    try:
        server.start()
        assert set(AllOperations(server, mailbox).send_valid().values()) <= {200, 201, 202}
        with closing(Database(Settings.from_environment(settings))) as database:
            assert expired_responses_sweeper(database, lambda: datetime.now(UTC) + timedelta(days=9)).sweep() > 0
            feed_changes_sweeper(database).sweep()
            account_deletions_sweeper(database, lambda _user_id: None).sweep()
            earlier_events_sweeper(database).sweep()
        accounts = {"user": server.accounts.sign_up_user(), "company": server.accounts.sign_up_company()}
        accounts["company"].create_promo()
        for command in (["reset-password"], ["close-account", "--yes"]):
            for kind, account in accounts.items():
                ended = run_command(settings, *command, kind, account.email, folder=tmp_path)
                assert ended.returncode == 0, ended.stderr
        checked = run_command(settings, "check", folder=tmp_path)
        assert checked.returncode == 0, checked.stdout
    finally:
        server.end()
        server.remote.close()
    assert "job_failed" not in server.log
    assert_no_secrets(server)
    _administer(postgres, "INSERT INTO later VALUES (1); DELETE FROM later", database="promo", role="promo")
    assert _rights(postgres) == {name: ["SELECT"] for name in _READ_ONLY}
    for forbidden in _FORBIDDEN:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _administer(postgres, forbidden, database="promo", role="promo")


def test_migration_by_the_owner(postgres: EmbeddedPostgres, environment: dict[str, str], tmp_path: Path) -> None:
    """The owner role migrates with the command of the page."""
    _administer(postgres, block("sql role"))
    settings = environment | _settings(postgres)
    assert run_command(settings, "migrate", folder=tmp_path).returncode == 0
    _administer(postgres, block("sql owner"), database="promo")
    _run(postgres, block("sh grants"), _ROOT)
    _administer(postgres, "DELETE FROM alembic_version WHERE false", database="promo", role="promo_owner")
    variables, _, command = block("sh migrate").strip().partition(" .venv/bin/python -m promo_api ")
    overrides = dict(variable.split("=", 1) for variable in variables.split(" "))
    assert run_command(settings | overrides, command, folder=tmp_path).returncode == 0


def test_roles_for_kubernetes(postgres: EmbeddedPostgres, environment: dict[str, str], tmp_path: Path) -> None:
    """With the roles for the Helm chart the owner migrates and grants, and the service can work."""
    _administer(postgres, block("sql kubernetes"))
    _administer(postgres, block("sql limits"))
    settings = environment | _settings(postgres)
    owner = {"POSTGRES_USERNAME": "promo_owner", "POSTGRES_TRANSACTION_POOLING": "false"}
    assert run_command(settings | owner, "migrate", folder=tmp_path).returncode == 0
    _run(postgres, block("sh grants"), _ROOT, role="promo_owner")
    assert _rights(postgres) == {name: ["SELECT"] for name in _READ_ONLY}
    checked = run_command(settings, "check", folder=tmp_path)
    assert checked.returncode == 0, checked.stdout


def test_migration_by_another_role(postgres: EmbeddedPostgres, environment: dict[str, str], tmp_path: Path) -> None:
    """The migrations of a role that does not own the database fail with a message, and change nothing."""
    create_role, create_database = block("sql role").splitlines()
    _administer(postgres, create_role + create_database.replace(" OWNER promo", ""))
    ended = run_command(environment | _settings(postgres), "migrate", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"The migrations could not be applied, .*: the role lacks a privilege; .*\n", ended.stderr)


def test_roles_of_an_older_volume(postgres: EmbeddedPostgres, environment: dict[str, str], tmp_path: Path) -> None:
    """roles.sh turns the superuser of an older docker-compose.yml into two roles, and can run again."""
    service = postgres.username
    settings = environment | _settings(postgres) | {"POSTGRES_USERNAME": service}
    _administer(postgres, f"CREATE DATABASE promo; ALTER ROLE {service} PASSWORD 'old'")
    assert run_command(settings, "migrate", folder=tmp_path).returncode == 0
    for name in ("service", "owner"):
        (tmp_path / name).write_text(f"it's the {name}'s")
    variables = {
        "POSTGRES_USERNAME": service,
        "POSTGRES_DATABASE": "promo",
        "POSTGRES_PASSWORD_FILE": f"{tmp_path}/service",
        "OWNER_USERNAME": "promo_owner",
        "OWNER_PASSWORD_FILE": f"{tmp_path}/owner",
    }
    exported = "".join(f"export {name}={value}\n" for name, value in variables.items())
    for _ in range(2):
        _run(postgres, f"{exported}sh deploy/roles.sh", _ROOT)
        owner = {"POSTGRES_USERNAME": "promo_owner", "POSTGRES_TRANSACTION_POOLING": "false"}
        assert run_command(settings | owner, "migrate", folder=tmp_path).returncode == 0
        _run(postgres, block("sh grants").replace("service=promo", f"service={service}"), _ROOT, role="promo_admin")
    statement = "SELECT rolname, rolsuper, rolpassword IS NULL FROM pg_authid WHERE rolcanlogin ORDER BY 1"
    place: dict[str, Any] = {"host": postgres.host, "port": postgres.port, "dbname": "promo"}
    with psycopg.connect(**place, user="promo_admin") as connection:
        roles = connection.execute(statement).fetchall()
        owned = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        assert connection.execute(owned).fetchall() == [("promo_owner",)]
    assert sorted(roles) == sorted(
        [(service, False, False), ("promo_admin", True, True), ("promo_owner", False, False)]
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _administer(postgres, "DELETE FROM account_events", database="promo", role=service)
