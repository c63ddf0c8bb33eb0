"""DEPLOYMENT.md, done as it is written, but for names and addresses."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
import requests

from persistence.engine import Database
from promo_api.sandbox.ports import free_port
from promo_api.sandbox.postgres import EmbeddedPostgres
from promo_api.sandbox.postgres_programs import program
from promo_api.sandbox.processes import wait_until
from promo_api.settings import Settings
from promo_api.sweeper import sweeper_of_answers, sweeper_of_changes
from tests.conformance import Conformance
from tests.deployment_page import block
from tests.e2e.conftest import assert_discreet
from tests.e2e.everything import Everything
from tests.e2e.remote import Remote
from tests.e2e.server import Server, run_command
from tests.people import Api

_ROOT = Path(__file__).parents[2]
_HOST = "127.0.0.1"
_START_S, _END_S = 20, 10
# One who may do everything does it as it is, and not as the user postgres.
# What another release may bring, and what the role of the service may not do.
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
    "UPDATE account_events SET user_id = company_id",
    "UPDATE account_events SET happened_at = now()",
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
    """A server on which nothing has been done."""
    # Not within pytest's folder, which any other run of pytest closes to the user of PostgreSQL.
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
    found = "SELECT table_name, array_agg(privilege_type::text ORDER BY 1) FROM information_schema.role_table_grants"
    place: dict[str, Any] = {"host": postgres.host, "port": postgres.port, "user": "promo", "dbname": "promo"}
    with psycopg.connect(**place) as connection:
        rights = dict(connection.execute(f"{found} WHERE grantee = 'promo' GROUP BY table_name").fetchall())
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
    postgres: EmbeddedPostgres, environment: dict[str, str], conformance: Conformance, tmp_path: Path
) -> None:
    """A role that owns its database, with its limits, is all that is needed; a database that was restored is whole."""
    _administer(postgres, block("sql role"))
    _administer(postgres, block("sql limits"))
    settings = environment | _settings(postgres)
    with Server(settings, tmp_path, conformance) as server:
        user, promo_id = server.people.sign_up_user(), server.people.sign_up_company().create_promo()
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
    assert_discreet(server)


@pytest.mark.parametrize("role", [None, "promo_owner"], ids=["superuser", "owner"])
def test_two_roles(
    postgres: EmbeddedPostgres, environment: dict[str, str], conformance: Conformance, tmp_path: Path, role: str | None
) -> None:
    """The rights of grants.sql are enough for every operation, the sweepers and `check`; all else is refused."""
    _administer(postgres, block("sql role"))
    _administer(postgres, block("sql limits"))
    settings = environment | _settings(postgres)
    assert run_command(settings, "migrate", folder=tmp_path).returncode == 0
    _administer(postgres, block("sql owner"), database="promo")
    _run(postgres, block("sh grants"), _ROOT, role=role)
    _administer(postgres, _LATER_TABLE, database="promo", role="promo_owner")
    server = Server(settings, tmp_path, conformance)
    try:
        server.start()
        assert set(Everything(server).ask_well().values()) <= {200, 201}
        with closing(Database(Settings.from_environment(settings))) as database:
            assert sweeper_of_answers(database, lambda: datetime.now(UTC) + timedelta(days=9)).sweep() > 0
            sweeper_of_changes(database).sweep()
        checked = run_command(settings, "check", folder=tmp_path)
        assert checked.returncode == 0, checked.stdout
    finally:
        server.end()
        server.remote.close()
    assert "sweep_failed" not in server.log
    assert_discreet(server)
    _administer(postgres, "INSERT INTO later VALUES (1); DELETE FROM later", database="promo", role="promo")
    assert _rights(postgres) == {name: ["SELECT"] for name in ("account_events", "alembic_version", "promo_changes")}
    for forbidden in _FORBIDDEN:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _administer(postgres, forbidden, database="promo", role="promo")


def test_migration_by_the_owner(postgres: EmbeddedPostgres, environment: dict[str, str], tmp_path: Path) -> None:
    """The other role migrates, by the command of the page."""
    _administer(postgres, block("sql role"))
    settings = environment | _settings(postgres)
    assert run_command(settings, "migrate", folder=tmp_path).returncode == 0
    _administer(postgres, block("sql owner"), database="promo")
    _run(postgres, block("sh grants"), _ROOT)
    _administer(postgres, "DELETE FROM alembic_version WHERE false", database="promo", role="promo_owner")
    variables, _, command = block("sh migrate").strip().partition(" .venv/bin/python -m promo_api ")
    given = dict(variable.split("=", 1) for variable in variables.split(" "))
    assert run_command(settings | given, command, folder=tmp_path).returncode == 0


def test_migration_by_another(postgres: EmbeddedPostgres, environment: dict[str, str], tmp_path: Path) -> None:
    """A role to which the database does not belong is told so, and changes nothing."""
    create_role, create_database = block("sql role").splitlines()
    _administer(postgres, create_role + create_database.replace(" OWNER promo", ""))
    ended = run_command(environment | _settings(postgres), "migrate", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"The migrations could not be applied, .*: the role may not do that; .*\n", ended.stderr)


@contextmanager
def _running(command: list[str], url: str) -> Iterator[None]:
    """Run a program for the time of a block, which begins once it answers."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            assert wait_until(lambda: _answers(url), _START_S)
            yield
        finally:
            process.terminate()
            process.wait(_END_S)


def _answers(url: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"{url}/api/ping", timeout=5).status_code == 200
    return False


def _assert_serves(url: str, conformance: Conformance) -> None:
    people = Api(Remote(url), conformance)  # type: ignore[arg-type]
    user, promo_id = people.sign_up_user(), people.sign_up_company().create_promo(promo_unique=["x" * 30] * 5000)
    assert user.post(f"/user/promo/{promo_id}/activate").json() == {"promo": "x" * 30}


def test_nginx(server: Server, conformance: Conformance, tmp_path: Path) -> None:
    """Through nginx the service answers as it does without."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    port = free_port(_HOST)
    site = block(
        "nginx promo.conf", {"127.0.0.1:8080": f"{_HOST}:{server.port}", "listen 80": f"listen {_HOST}:{port}"}
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = " ".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"user root; daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; {places}\n{site}}}\n"
    )
    url = f"http://{_HOST}:{port}"
    with _running([nginx, "-c", str(configuration), "-e", f"{tmp_path}/error.log"], url):
        _assert_serves(url, conformance)


def test_haproxy(server: Server, conformance: Conformance, tmp_path: Path) -> None:
    """And through HAProxy."""
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None:
        pytest.skip("HAProxy is not installed")
    port = free_port(_HOST)
    site = block("haproxy promo.cfg", {"127.0.0.1:8080": f"{_HOST}:{server.port}", "bind :80": f"bind {_HOST}:{port}"})
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(f"defaults\n    timeout client 30s\n\n{site}")
    url = f"http://{_HOST}:{port}"
    with _running([haproxy, "-db", "-f", str(configuration)], url):
        _assert_serves(url, conformance)


def test_times_of_a_stop() -> None:
    """The service is killed no sooner than its own patience has ended."""
    patience = re.search(r"^TimeoutStopSec=(\d+)$", block("ini promo.service"), re.MULTILINE)
    assert patience is not None
    assert int(patience[1]) == Settings(antifraud_address="", secret_key="").server_stop_timeout_s + 10
