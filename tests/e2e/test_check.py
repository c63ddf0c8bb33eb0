"""The command `check`: one line for each item, and an exit status."""

import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg
import redis

from tests.e2e.environment import Environment
from tests.e2e.server import Server, run_command

_ALL = [
    "settings", "passwords", "specification", "PostgreSQL", "schema", "cluster", "replicas", "Redis", "clocks",
    "anti-fraud", "breakers", "mail", "webhooks", "counts",
]  # fmt: skip
# The tests use cheap password hashes, which gives a warning.
_ALL_OK = dict.fromkeys(_ALL, True) | {"passwords": False}


def _run_check(environment: Mapping[str, str], folder: Path) -> tuple[int, dict[str, bool], str]:
    """Return the exit status of `check`, whether each line is ok, and the output."""
    done = run_command(environment, "check", folder=folder)
    assert "Traceback" not in done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    results = {words[1]: words[0] == "ok" for words in lines if words and words[0] in ("ok", "WARN", "FAIL")}
    return done.returncode, results, done.stdout


def _set_like_counts(env: Environment, promo_ids: Sequence[str], number: int) -> None:
    target = {"host": env.postgres.host, "port": env.postgres.port, "user": env.postgres.username}
    with psycopg.connect(**target, dbname="promo") as connection:
        statement = "UPDATE promo_counters SET like_count = %s WHERE promo_id = ANY(%s::uuid[])"
        assert connection.execute(statement, [number, list(promo_ids)]).rowcount == len(promo_ids)


def test_everything_works(env: Environment, tmp_path: Path) -> None:
    """If operations works, each line is ok and has the address."""
    status, results, output = _run_check(env.variables, tmp_path)
    assert (status, results) == (0, _ALL_OK)
    assert env.variables["ANTIFRAUD_ADDRESS"] in output
    assert f"{env.valkey.host}:{env.valkey.port}" in output
    assert env.variables["SECRET_KEY"] not in output
    assert "WARN  passwords      ARGON2_MEMORY_KIB=8 with ARGON2_ITERATIONS=1 is below OWASP's minimum, " in output


def test_redis_unavailable(env: Environment, tmp_path: Path) -> None:
    """Without Redis the state of the circuit breakers is unknown."""
    env.valkey.stop()
    status, results, output = _run_check(env.variables, tmp_path)
    assert (status, results) == (1, _ALL_OK | {"Redis": False, "clocks": False, "breakers": False})
    assert "Unknown, because Redis is unavailable." in output


def test_redis_by_url(env: Environment, tmp_path: Path) -> None:
    """The address of a Redis in REDIS_URL is printed, available or not, without its password."""
    address = f"{env.valkey.host}:{env.valkey.port}"
    moved = env.variables | {"REDIS_HOST": "nowhere.invalid", "REDIS_URL": f"redis://{address}/3"}
    status, results, output = _run_check(moved, tmp_path)
    assert (status, results) == (0, _ALL_OK)
    assert f"{address}/3 is available." in output
    status, results, output = _run_check(moved | {"REDIS_URL": f"redis://nobody:hunter2@{address}"}, tmp_path)
    assert (status, results) == (1, _ALL_OK | {"Redis": False, "clocks": False, "breakers": False})
    assert f"{address} is unavailable: " in output
    assert "hunter2" not in output


def test_antifraud_unavailable(env: Environment, tmp_path: Path) -> None:
    """Without the anti-fraud service only its line fails."""
    env.antifraud.stop()
    assert _run_check(env.variables, tmp_path)[:2] == (1, _ALL_OK | {"anti-fraud": False})


def test_no_antifraud_service(env: Environment, tmp_path: Path) -> None:
    """With ANTIFRAUD_ADDRESS=none there is a warning, and no failure, also with an open circuit breaker in Redis."""
    with redis.Redis(env.valkey.host, env.valkey.port) as cache:
        cache.zadd("antifraud:open-breakers", {"host:1": 10**15})
        status, results, output = _run_check(env.variables | {"ANTIFRAUD_ADDRESS": "none"}, tmp_path)
        cache.delete("antifraud:open-breakers")
    assert (status, results) == (0, _ALL_OK | {"anti-fraud": False})
    assert "WARN  anti-fraud     ANTIFRAUD_ADDRESS is none: activations are allowed without an anti-fraud " in output


def test_open_breaker(env: Environment, tmp_path: Path) -> None:
    """A worker with an open circuit breaker is listed until its cool-down ends, even if the service is back."""
    fast = {"ANTIFRAUD_BREAKER_FAILURES": "1", "ANTIFRAUD_BREAKER_COOLDOWN_S": "600", "SERVER_WORKERS": "1"}
    with Server(env.variables | fast, tmp_path) as server:
        user, promo_id = server.accounts.sign_up_user(), server.accounts.sign_up_company().create_promo()
        env.antifraud.stop()
        assert user.post(f"/user/promo/{promo_id}/activate").status_code == 403
        [worker] = server.workers()
        env.antifraud.start()
        status, results, output = _run_check(env.variables, tmp_path)
        assert user.post(f"/user/promo/{promo_id}/activate").status_code == 403
        assert server.log.count("antifraud_breaker_opened") == 1
    with redis.Redis(env.valkey.host, env.valkey.port) as cache:
        cache.delete("antifraud:open-breakers")
    assert (status, results) == (1, _ALL_OK | {"breakers": False})
    assert f"denies activations in {socket.gethostname()}:{worker.pid} until 2" in output
    assert env.antifraud_calls(user.body["email"]) == 0


def test_postgresql_unavailable(env: Environment, tmp_path: Path) -> None:
    """Without PostgreSQL schema, cluster, webhooks and counts are unknown, and `migrate` fails with a reason."""
    env.postgres.stop()
    status, results, output = _run_check(env.variables, tmp_path)
    unknown = dict.fromkeys(("PostgreSQL", "schema", "cluster", "clocks", "webhooks", "counts"), False)
    assert (status, results) == (1, _ALL_OK | unknown)
    assert env.variables["POSTGRES_HOST"] in output
    done = run_command(env.variables, "migrate", folder=tmp_path)
    assert done.returncode == 1
    assert "could not be applied" in done.stderr
    assert "Traceback" not in done.stderr


def test_limits_of_the_role(env: Environment, tmp_path: Path) -> None:
    """Behind a transaction pooler it reports settings that the role lacks."""
    pooled = env.variables | {"POSTGRES_TRANSACTION_POOLING": "true", "POSTGRES_LOCK_TIMEOUT_S": "1.5"}
    status, results, output = _run_check(pooled, tmp_path)
    assert (status, results) == (1, _ALL_OK | {"PostgreSQL": False})
    assert re.search(r"lock_timeout is \d+ and not 1500", output)


def _direct(env: Environment, **changes: str) -> dict[str, str]:
    """Return the settings of a service that connects to PostgreSQL itself, not through PgBouncer."""
    target = {"POSTGRES_HOST": env.postgres.host, "POSTGRES_PORT": str(env.postgres.port)}
    return env.variables | target | {"POSTGRES_TRANSACTION_POOLING": "false"} | changes


def _execute(env: Environment, *statements: str) -> None:
    target = {"host": env.postgres.host, "port": env.postgres.port, "user": env.postgres.username}
    with psycopg.connect(**target, dbname="promo", autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_time_zones(env: Environment, tmp_path: Path) -> None:
    """Behind a transaction pooler another name of UTC is as good, another time zone is not."""
    limits = {"statement_timeout": "5s", "lock_timeout": "3s", "idle_in_transaction_session_timeout": "10s"}
    names = {**limits, "plan_cache_mode": "force_generic_plan"}
    _execute(
        env, "CREATE ROLE zoned LOGIN SUPERUSER", *(f"ALTER ROLE zoned SET {name} = '{names[name]}'" for name in names)
    )
    pooled = _direct(env, POSTGRES_TRANSACTION_POOLING="true", POSTGRES_USERNAME="zoned")
    _execute(env, "ALTER ROLE zoned SET timezone = 'Etc/UTC'")
    assert _run_check(pooled, tmp_path)[:2] == (0, _ALL_OK)
    _execute(env, "ALTER ROLE zoned SET timezone = 'Europe/London'")
    status, results, output = _run_check(pooled, tmp_path)
    assert (status, results) == (1, _ALL_OK | {"PostgreSQL": False})
    assert "TimeZone is Europe/London and not UTC." in output
    _execute(env, "DROP ROLE zoned")


def test_role_without_rights(env: Environment, tmp_path: Path) -> None:
    """A role that may not read the tables is reported with the file that grants the rights."""
    _execute(env, "CREATE ROLE powerless LOGIN")
    status, results, output = _run_check(_direct(env, POSTGRES_USERNAME="powerless"), tmp_path)
    _execute(env, "DROP ROLE powerless")
    assert (status, results) == (1, _ALL_OK | {"schema": False, "webhooks": False, "counts": False})
    assert "Unknown, because the role has too few rights. See deploy/grants.sql." in output


def test_read_only_database(env: Environment, tmp_path: Path) -> None:
    """A read-only PostgreSQL is not usable."""
    _execute(env, "ALTER DATABASE promo SET default_transaction_read_only = on")
    status, results, output = _run_check(_direct(env), tmp_path)
    _execute(env, "SET default_transaction_read_only = off", "ALTER DATABASE promo RESET default_transaction_read_only")
    assert (status, results) == (1, _ALL_OK | {"PostgreSQL": False})
    assert "is available, but read-only." in output


def test_one_line_for_each_item(env: Environment, tmp_path: Path) -> None:
    """Each finding is one line, also if operations is unavailable."""
    env.postgres.stop()
    env.valkey.stop()
    env.antifraud.stop()
    output = _run_check(env.variables, tmp_path)[2]
    assert [line.split()[1] for line in output.splitlines()] == _ALL


def test_schema_is_missing(empty_database: dict[str, str], tmp_path: Path) -> None:
    """On an empty database it names the command to run. After that operations is ok."""
    status, results, output = _run_check(empty_database, tmp_path)
    assert (status, results) == (1, _ALL_OK | {"schema": False, "webhooks": False, "counts": False})
    assert "python -m promo_api migrate" in output
    for _ in range(2):
        assert run_command(empty_database, "migrate", folder=tmp_path).returncode == 0
    assert _run_check(empty_database, tmp_path)[:2] == (0, _ALL_OK)


def test_wrong_count(env: Environment, tmp_path: Path) -> None:
    """It reports stored counts that are wrong and for how many promos, and changes nothing."""
    company = env.server.accounts.sign_up_company()
    promo_ids = [company.create_promo() for _ in range(2)]
    _set_like_counts(env, promo_ids, 3)
    for _ in range(2):
        status, results, output = _run_check(env.variables, tmp_path)
        assert (status, results) == (1, _ALL_OK | {"counts": False})
        assert "differ from a recount: likes of promos (for 2)." in output
    _set_like_counts(env, promo_ids, 0)
    assert _run_check(env.variables, tmp_path)[:2] == (0, _ALL_OK)


def test_invalid_settings(env: Environment, tmp_path: Path) -> None:
    """With invalid settings it reports all of them and checks nothing else."""
    broken = dict(env.variables) | {"REDIS_PORT": "99999", "SECRET_KEY": "t00-short"}
    status, results, output = _run_check(broken, tmp_path)
    assert (status, results) == (1, {"settings": False})
    assert "REDIS_PORT" in output
    assert "SECRET_KEY" in output
    assert "t00-short" not in output
