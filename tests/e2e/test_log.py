"""The log of a server that is asked for everything: each request has its line, and nothing that it sent is in any."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from promo_api.sandbox.processes import wait_until
from tests.conformance import Conformance
from tests.e2e.all_operations import MARK, Everything, secret
from tests.e2e.conftest import House, assert_discreet
from tests.e2e.server import Server

_EVERY_LINE = {"at", "level", "event", "process"}
_TOLD = {"antifraud": "antifraud_no_answer", "valkey": "antifraud_cache_unavailable", "postgres": "dependency_down"}
_REFUSED = "ALTER TABLE comments ADD CONSTRAINT none_at_all CHECK (false) NOT VALID"
_ALLOWED = "ALTER TABLE comments DROP CONSTRAINT none_at_all"
_HASHES = "SELECT password_hash FROM users UNION SELECT password_hash FROM companies"


@pytest.fixture(params=["json", "text"])
def server(request: pytest.FixtureRequest, house: House, conformance: Conformance, tmp_path: Path) -> Iterator[Server]:
    """A server with secrets of its own, whose log is written in each of the formats."""
    own = {
        "LOG_FORMAT": request.param,
        "POSTGRES_PASSWORD": secret("{}"),
        "SECRET_KEY": secret("a key for tests that is long enough {}"),
    }
    with Server(house.environment | own, tmp_path, conformance) as server:
        yield server
    assert_discreet(server)
    assert MARK not in server.log.lower()


@contextmanager
def _connected(house: House) -> Iterator["psycopg.Connection[Any]"]:
    target = {"host": house.postgres.host, "port": house.postgres.port, "user": house.postgres.username}
    with psycopg.connect(**target, dbname="promo", autocommit=True) as connection:
        yield connection


@contextmanager
def _refused_comments(house: House) -> Iterator[None]:
    """Let PostgreSQL refuse each comment, with an error that repeats the whole of it."""
    with _connected(house) as connection:
        connection.execute(_REFUSED)
    yield
    with _connected(house) as connection:
        connection.execute(_ALLOWED)


def _requests(server: Server) -> list[dict[str, Any]]:
    """Return what the lines of requests tell, whatever their format."""
    if server.environment["LOG_FORMAT"] == "json":
        return [line for line in server.lines() if line["event"] == "request"]
    lines = re.findall(r"^[0-9T:.-]+Z INFO \[[0-9]+\] request (.*)$", server.log, re.MULTILINE)
    told = [dict(field.split("=") for field in line.split()) for line in lines]
    return [each | {"status": int(each["status"]), "operation": each["operation"].strip('"')} for each in told]


def _assert_told(server: Server, everything: Everything) -> None:
    """Assert that each request that was answered has exactly one line, which tells the truth."""
    ids = {asked.request_id for asked in everything.asked}
    assert len(ids) == len(everything.asked)
    # A line is written when the answer has been sent.
    assert wait_until(lambda: ids <= {line["request_id"] for line in _requests(server)}, 10)
    lines = [line for line in _requests(server) if line["request_id"] in ids]
    assert len(lines) == len(ids)
    told = {line["request_id"]: line for line in lines}
    for asked in everything.asked:
        line = told[asked.request_id]
        assert line["status"] == asked.status, line
        assert asked.operation in (line["operation"], None), line


def _assert_no_hash(house: House, server: Server) -> None:
    with _connected(house) as connection:
        hashes = [row[0] for row in connection.execute(_HASHES).fetchall() if row[0] is not None]
    assert len(hashes) > 4
    assert "argon2" not in server.log
    assert not [each for each in hashes if each.rpartition("$")[2] in server.log]


def _assert_traced(server: Server, everything: Everything) -> None:
    """Assert that what went wrong for a request is told with its id, in whatever thread that was."""
    if server.environment["LOG_FORMAT"] == "json":
        operations = {asked.request_id: asked.operation for asked in everything.asked}
        traced = {(line["event"], operations[line["request_id"]]) for line in server.lines() if _is_failure(line)}
        assert ("antifraud_no_answer", "user_activations.activate_promo") in traced
        assert ("dependency_down", "user_promos.list_feed") in traced
        assert ("unforeseen_error", "user_comments.create_comment") in traced


def _is_failure(line: dict[str, Any]) -> bool:
    return line["event"] in ("antifraud_no_answer", "dependency_down", "unforeseen_error")


def _assert_form(server: Server) -> None:
    """Assert that each line is of its format, and has what every line has."""
    lines = server.log.splitlines()
    assert lines
    if server.environment["LOG_FORMAT"] == "json":
        assert all(json.loads(line).keys() >= _EVERY_LINE for line in lines)
    else:
        first = re.compile(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z (INFO|WARNING|ERROR) \[[0-9]+\] [a-z_]+( |$)")
        of_traceback = re.compile(r"Traceback |  |[A-Za-z_]+(\.[A-Za-z_]+)+|Caused by:|$")
        assert [line for line in lines if not first.match(line) and not of_traceback.match(line)] == []


def test_log_of_a_full_run(house: House, server: Server) -> None:
    """Every operation, asked well and badly, on good days and on bad ones, leaves one line and nothing of its own."""
    everything = Everything(server)
    assert set(everything.ask_well().values()) == {200, 201}
    assert {400, 401, 404, 415} <= everything.ask_badly()
    everything.ask_what_is_no_http()
    for name, event in _TOLD.items():
        assert event not in server.log
        getattr(house, name).stop()
        everything.ask_well()
        everything.ask_badly()
        assert event in server.log
        house.mend()
    assert wait_until(lambda: everything.ask_well()["user_profile.get_profile"] == 200, 20)
    assert "unforeseen_error" not in server.log
    with _refused_comments(house):
        assert everything.comment() == 500
    assert "StatementRefused: CheckViolation (none_at_all)" in server.log
    _assert_told(server, everything)
    _assert_traced(server, everything)
    _assert_no_hash(house, server)
    _assert_form(server)


def test_log_of_a_database_without_tables(house: House) -> None:
    """Where the migrations have not been run the log says so."""
    user = house.server.people.sign_up_user()
    before = len(house.server.log)
    with _connected(house) as connection:
        connection.execute("ALTER TABLE users RENAME TO users_away")
    try:
        status = user.get("/user/profile").status_code
    finally:
        with _connected(house) as connection:
            connection.execute("ALTER TABLE users_away RENAME TO users")
    assert status == 503
    [line] = [line for line in house.server.lines(before) if line["event"] == "dependency_down"]
    assert (line["level"], line["retry_after_s"]) == ("warning", 30)
    assert line["reason"] == "python -m promo_api migrate has not been run"
    assert user.get("/user/profile").status_code == 200
