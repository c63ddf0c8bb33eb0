"""The log of requests of all kinds: one line for each request, and no secrets."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from promo_api.dev.processes import wait_until
from tests.e2e.all_operations import MARK, AllOperations, secret
from tests.e2e.environment import Environment, assert_no_secrets
from tests.e2e.server import Server
from tests.mailbox import Mailbox

_EVERY_LINE = {"at", "level", "event", "process"}
_OUTAGE_EVENTS = {
    "antifraud": "antifraud_no_response",
    "valkey": "antifraud_cache_unavailable",
    "postgres": "service_unavailable",
}
_REFUSE_COMMENTS = "ALTER TABLE comments ADD CONSTRAINT none_at_all CHECK (false) NOT VALID"
_ALLOW_COMMENTS = "ALTER TABLE comments DROP CONSTRAINT none_at_all"
_HASHES = "SELECT password_hash FROM users UNION SELECT password_hash FROM companies"


@pytest.fixture(params=["json", "text"])
def server(request: pytest.FixtureRequest, env: Environment, mailbox: Mailbox, tmp_path: Path) -> Iterator[Server]:
    """A server with marked secrets, for each log format."""
    own = {
        "LOG_FORMAT": request.param,
        "POSTGRES_PASSWORD": secret("{}"),
        "SECRET_KEY": secret("a key for tests that is long enough {}"),
        "SMTP_URL": mailbox.url,
    }
    with Server(env.variables | own, tmp_path) as server:
        yield server
    assert_no_secrets(server)
    assert MARK not in server.log.lower()


@contextmanager
def _connected(env: Environment) -> Iterator["psycopg.Connection[Any]"]:
    target = {"host": env.postgres.host, "port": env.postgres.port, "user": env.postgres.username}
    with psycopg.connect(**target, dbname="promo", autocommit=True) as connection:
        yield connection


@contextmanager
def _refused_comments(env: Environment) -> Iterator[None]:
    """Make PostgreSQL refuse each comment with an error that contains it."""
    with _connected(env) as connection:
        connection.execute(_REFUSE_COMMENTS)
    yield
    with _connected(env) as connection:
        connection.execute(_ALLOW_COMMENTS)


def _requests(server: Server) -> list[dict[str, Any]]:
    """Return the fields of the request lines, for both formats."""
    if server.environment["LOG_FORMAT"] == "json":
        return [line for line in server.lines() if line["event"] == "request"]
    lines = re.findall(r"^[0-9T:.-]+Z INFO \[[0-9]+\] request (.*)$", server.log, re.MULTILINE)
    parsed = [dict(field.split("=") for field in line.split()) for line in lines]
    return [each | {"status": int(each["status"]), "operation": each["operation"].strip('"')} for each in parsed]


def _assert_logged(server: Server, operations: AllOperations) -> None:
    """Assert that each request with a response has exactly one correct line."""
    ids = {request.request_id for request in operations.sent}
    assert len(ids) == len(operations.sent)
    # The line is written after the response has been sent.
    assert wait_until(lambda: ids <= {line["request_id"] for line in _requests(server)}, 10)
    lines = [line for line in _requests(server) if line["request_id"] in ids]
    assert len(lines) == len(ids)
    by_id = {line["request_id"]: line for line in lines}
    for request in operations.sent:
        line = by_id[request.request_id]
        assert line["status"] == request.status, line
        assert request.operation in (line["operation"], None), line


def _assert_no_hash(env: Environment, server: Server) -> None:
    with _connected(env) as connection:
        hashes = [row[0] for row in connection.execute(_HASHES).fetchall() if row[0] is not None]
    assert len(hashes) > 4
    assert "argon2" not in server.log
    assert not [each for each in hashes if each.rpartition("$")[2] in server.log]


def _assert_traced(server: Server, operations: AllOperations) -> None:
    """Assert that failures are logged with the request ID, in all threads."""
    if server.environment["LOG_FORMAT"] == "json":
        names = {request.request_id: request.operation for request in operations.sent}
        traced = {(line["event"], names[line["request_id"]]) for line in server.lines() if _is_failure(line)}
        assert ("antifraud_no_response", "user_activations.activate_promo") in traced
        assert ("service_unavailable", "user_promos.list_feed") in traced
        assert ("internal_error", "user_comments.create_comment") in traced


def _is_failure(line: dict[str, Any]) -> bool:
    return line["event"] in ("antifraud_no_response", "service_unavailable", "internal_error")


def _assert_format(server: Server) -> None:
    """Assert that each line has the correct format and the common fields."""
    lines = server.log.splitlines()
    assert lines
    if server.environment["LOG_FORMAT"] == "json":
        assert all(json.loads(line).keys() >= _EVERY_LINE for line in lines)
    else:
        first = re.compile(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z (INFO|WARNING|ERROR) \[[0-9]+\] [a-z_]+( |$)")
        of_traceback = re.compile(r"Traceback |  |[A-Za-z_]+(\.[A-Za-z_]+)+|Caused by:|$")
        assert [line for line in lines if not first.match(line) and not of_traceback.match(line)] == []


def test_log_of_a_full_run(env: Environment, server: Server, mailbox: Mailbox) -> None:
    """Valid and invalid requests to all operations, also during outages, leave one line each and no secrets."""
    operations = AllOperations(server, mailbox)
    assert set(operations.send_valid().values()) == {200, 201, 202}
    assert {400, 401, 404, 415} <= operations.send_invalid()
    operations.send_malformed()
    for name, event in _OUTAGE_EVENTS.items():
        assert event not in server.log
        getattr(env, name).stop()
        operations.send_valid()
        operations.send_invalid()
        assert event in server.log
        env.restore()
    assert wait_until(lambda: operations.send_valid()["user_profile.get_profile"] == 200, 20)
    assert "internal_error" not in server.log
    with _refused_comments(env):
        assert operations.comment() == 500
    assert "StatementRefused: CheckViolation (none_at_all)" in server.log
    _assert_logged(server, operations)
    _assert_traced(server, operations)
    _assert_no_hash(env, server)
    _assert_format(server)


def test_log_of_a_database_without_tables(env: Environment) -> None:
    """A missing table is logged with the command to run the migrations."""
    user = env.server.accounts.sign_up_user()
    before = len(env.server.log)
    with _connected(env) as connection:
        connection.execute("ALTER TABLE users RENAME TO users_away")
    try:
        status = user.get("/user/profile").status_code
    finally:
        with _connected(env) as connection:
            connection.execute("ALTER TABLE users_away RENAME TO users")
    assert status == 503
    [line] = [line for line in env.server.lines(before) if line["event"] == "service_unavailable"]
    assert (line["level"], line["retry_after_s"]) == ("warning", 30)
    assert line["reason"] == "python -m promo_api migrate has not been run"
    assert user.get("/user/profile").status_code == 200
