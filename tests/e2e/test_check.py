"""The command `check`: thing by thing what is well, and by its exit status whether all is."""

import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg
import redis

from tests.e2e.conftest import House
from tests.e2e.server import Server, run_command

_ALL = [
    "settings", "passwords", "specification", "PostgreSQL", "schema", "Redis", "anti-fraud", "breakers", "counts",
]  # fmt: skip
# The password hashes of the tests are cheap, which is a warning.
_WELL = dict.fromkeys(_ALL, True) | {"passwords": False}


def _checked(environment: Mapping[str, str], folder: Path) -> tuple[int, dict[str, bool], str]:
    """Return the exit status of `check`, what it found of each thing, and all that it said."""
    done = run_command(environment, "check", folder=folder)
    assert "Traceback" not in done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    found = {words[1]: words[0] == "ok" for words in lines if words and words[0] in ("ok", "WARN", "FAIL")}
    return done.returncode, found, done.stdout


def _set_like_counts(house: House, promo_ids: Sequence[str], number: int) -> None:
    target = {"host": house.postgres.host, "port": house.postgres.port, "user": house.postgres.username}
    with psycopg.connect(**target, dbname="promo") as connection:
        statement = "UPDATE promo_counters SET like_count = %s WHERE promo_id = ANY(%s::uuid[])"
        assert connection.execute(statement, [number, list(promo_ids)]).rowcount == len(promo_ids)


def test_all_is_well(house: House, tmp_path: Path) -> None:
    """When all is well it says so of each thing, and where it is."""
    status, found, said = _checked(house.environment, tmp_path)
    assert (status, found) == (0, _WELL)
    assert house.environment["ANTIFRAUD_ADDRESS"] in said
    assert f"{house.valkey.host}:{house.valkey.port}" in said
    assert house.environment["SECRET_KEY"] not in said
    assert "WARN  passwords      ARGON2_MEMORY_KIB=8 with ARGON2_ITERATIONS=1 is below OWASP's minimum, " in said


def test_redis_is_away(house: House, tmp_path: Path) -> None:
    """Without Redis it says that, and that the breakers can't be seen."""
    house.valkey.stop()
    status, found, said = _checked(house.environment, tmp_path)
    assert (status, found) == (1, _WELL | {"Redis": False, "breakers": False})
    assert "Can't be seen without Redis." in said


def test_redis_by_url(house: House, tmp_path: Path) -> None:
    """Of a Redis that is named by a URL it says where it is, well or not, and not with which password it is asked."""
    place = f"{house.valkey.host}:{house.valkey.port}"
    moved = house.environment | {"REDIS_HOST": "nowhere.invalid", "REDIS_URL": f"redis://{place}/3"}
    status, found, said = _checked(moved, tmp_path)
    assert (status, found) == (0, _WELL)
    assert f"{place}/3 answers." in said
    status, found, said = _checked(moved | {"REDIS_URL": f"redis://nobody:hunter2@{place}"}, tmp_path)
    assert (status, found) == (1, _WELL | {"Redis": False, "breakers": False})
    assert f"{place} does not answer: " in said
    assert "hunter2" not in said


def test_antifraud_is_away(house: House, tmp_path: Path) -> None:
    """Without the anti-fraud service it says that, and that all else is well."""
    house.antifraud.stop()
    assert _checked(house.environment, tmp_path)[:2] == (1, _WELL | {"anti-fraud": False})


def test_open_breaker(house: House, tmp_path: Path) -> None:
    """Of a worker that asks the anti-fraud service no more it says so, and until when, even if that is back."""
    impatient = {"ANTIFRAUD_BREAKER_FAILURES": "1", "ANTIFRAUD_BREAKER_COOLDOWN_S": "600", "SERVER_WORKERS": "1"}
    with Server(house.environment | impatient, tmp_path) as server:
        user, promo_id = server.people.sign_up_user(), server.people.sign_up_company().create_promo()
        house.antifraud.stop()
        assert user.post(f"/user/promo/{promo_id}/activate").status_code == 403
        [worker] = server.workers()
        house.antifraud.start()
        status, found, said = _checked(house.environment, tmp_path)
        assert user.post(f"/user/promo/{promo_id}/activate").status_code == 403
        assert server.log.count("antifraud_breaker_open") == 1
    with redis.Redis(house.valkey.host, house.valkey.port) as cache:
        cache.delete("antifraud:open-breakers")
    assert (status, found) == (1, _WELL | {"breakers": False})
    assert f"refused by {socket.gethostname()}:{worker.pid} until 2" in said
    assert house.calls(user.body["email"]) == 0


def test_postgresql_is_away(house: House, tmp_path: Path) -> None:
    """Without PostgreSQL it says that, and that schema and counts can't be seen; `migrate` says it too."""
    house.postgres.stop()
    status, found, said = _checked(house.environment, tmp_path)
    assert (status, found) == (1, _WELL | {"PostgreSQL": False, "schema": False, "counts": False})
    assert house.environment["POSTGRES_HOST"] in said
    done = run_command(house.environment, "migrate", folder=tmp_path)
    assert done.returncode == 1
    assert "could not be applied" in done.stderr
    assert "Traceback" not in done.stderr


def test_limits_of_the_role(house: House, tmp_path: Path) -> None:
    """Where a pooler stands before PostgreSQL it says which limits the role has not got."""
    pooled = house.environment | {"POSTGRES_TRANSACTION_POOLING": "true", "POSTGRES_LOCK_TIMEOUT_S": "1.5"}
    status, found, said = _checked(pooled, tmp_path)
    assert (status, found) == (1, _WELL | {"PostgreSQL": False})
    assert re.search(r"lock_timeout is \d+ and not 1500", said)


def test_one_line_for_each_thing(house: House, tmp_path: Path) -> None:
    """What it says of a thing is one line, whatever went wrong."""
    house.postgres.stop()
    house.valkey.stop()
    house.antifraud.stop()
    said = _checked(house.environment, tmp_path)[2]
    assert [line.split()[1] for line in said.splitlines()] == _ALL


def test_schema_is_missing(empty_database: dict[str, str], tmp_path: Path) -> None:
    """On an empty database it says what to do, and after that has been done all is well."""
    status, found, said = _checked(empty_database, tmp_path)
    assert (status, found) == (1, _WELL | {"schema": False, "counts": False})
    assert "python -m promo_api migrate" in said
    for _ in range(2):
        assert run_command(empty_database, "migrate", folder=tmp_path).returncode == 0
    assert _checked(empty_database, tmp_path)[:2] == (0, _WELL)


def test_wrong_count(house: House, tmp_path: Path) -> None:
    """Of counts that are not those of the rows it says which they are, and for how many promos; it changes nothing."""
    company = house.server.people.sign_up_company()
    promo_ids = [company.create_promo() for _ in range(2)]
    _set_like_counts(house, promo_ids, 3)
    for _ in range(2):
        status, found, said = _checked(house.environment, tmp_path)
        assert (status, found) == (1, _WELL | {"counts": False})
        assert "these differ: likes of promos (for 2)." in said
    _set_like_counts(house, promo_ids, 0)
    assert _checked(house.environment, tmp_path)[:2] == (0, _WELL)


def test_settings_cannot_be_used(house: House, tmp_path: Path) -> None:
    """Of settings that can't be used it tells all that is wrong, and looks no further."""
    broken = dict(house.environment) | {"REDIS_PORT": "99999", "SECRET_KEY": "t00-short"}
    status, found, said = _checked(broken, tmp_path)
    assert (status, found) == (1, {"settings": False})
    assert "REDIS_PORT" in said
    assert "SECRET_KEY" in said
    assert "t00-short" not in said
