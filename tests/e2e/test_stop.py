"""Graceful stop: open requests get responses, new connections are refused, and slow requests are cut off."""

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.client import HTTPResponse
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM
from time import monotonic
from typing import Any

import pytest
import requests

from promo_api.dev.processes import wait_gone, wait_until
from tests.e2e.environment import Environment, assert_no_secrets
from tests.e2e.raw import request
from tests.e2e.server import Server

_PING = request(b"GET", b"/api/ping")
_SIGN_IN = request(
    b"POST",
    b"/api/user/auth/sign-in",
    b"Content-Type: application/json",
    body=b'{"email": "unknown@example.com", "password": "Passw0rd!"}',
)
_STOP_TIMEOUT_S = 3
_DRAIN_S = 3
# How long a handler waits for the anti-fraud service.
_HANDLER_S = 30


@pytest.fixture
def server(env: Environment, tmp_path: Path) -> Iterator[Server]:
    """A server with one worker and a long timeout for the anti-fraud service."""
    own = {"SERVER_WORKERS": "1", "ANTIFRAUD_READ_TIMEOUT_S": str(_HANDLER_S)}
    with Server(env.variables | own, tmp_path) as server:
        yield server
    assert_no_secrets(server)
    assert server.lines(), "gunicorn logs in the same format, also after a reload"
    assert server.tracebacks() == []


@contextmanager
def _activation(env: Environment, server: Server) -> Iterator["Future[Any]"]:
    """Run an activation that waits for the anti-fraud service during the block."""
    user = server.accounts.sign_up_user()
    promo_id = server.accounts.sign_up_company().create_promo()
    env.configure_antifraud(user_email=user.body["email"], delay_ms=60_000)
    with ThreadPoolExecutor(1) as threads:
        response = threads.submit(user.post, f"/user/promo/{promo_id}/activate")
        try:
            assert wait_until(lambda: env.antifraud_calls(user.body["email"]) == 1, 10)
            yield response
        finally:
            env.reset_antifraud()


def _is_stopping(server: Server) -> bool:
    return '"message":"Shutting down"' in server.log


def _time_of(server: Server, name: str, value: str) -> datetime:
    """Return the time of the first log line with this value."""
    return next(datetime.fromisoformat(line["at"]) for line in server.lines() if line.get(name) == value)


def _refuses(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def _connect(server: Server, *sent: bytes) -> socket.socket:
    """Connect and send parts of requests; wait for the responses to complete ones."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    for part in sent:
        connection.sendall(part)
        if part is _PING:
            assert _answer(connection).status == 200
    return connection


def _answer(connection: socket.socket) -> HTTPResponse:
    response = HTTPResponse(connection)
    response.begin()
    response.read()
    return response


def test_last_response_of_connections(server: Server) -> None:
    """Requests that arrive or continue after SIGTERM get responses with Connection: close."""
    connections = {
        # sent before SIGTERM: sent after it
        _connect(server, _PING): _SIGN_IN,
        _connect(server, _PING, _SIGN_IN[:20]): _SIGN_IN[20:],
        _connect(server, _PING, _SIGN_IN[:-5]): _SIGN_IN[-5:],
        _connect(server, _SIGN_IN[:20]): _SIGN_IN[20:],
        _connect(server): _SIGN_IN,
    }
    server.signal(SIGTERM)
    assert wait_until(lambda: _is_stopping(server), 10)
    for connection, rest in connections.items():
        connection.sendall(rest)
    for connection in connections:
        response = _answer(connection)
        assert (response.status, response.will_close) == (401, True)
        assert connection.recv(1) == b""
        connection.close()
    assert server.wait() == 0


def test_idle_connections_do_not_delay_the_stop(server: Server) -> None:
    """Idle connections are closed long before the timeout for requests."""
    began = [
        _connect(server),
        _connect(server, _PING),
        _connect(server, _SIGN_IN[:20]),
        _connect(server, _SIGN_IN[:-5]),
    ]
    server.signal(SIGTERM)
    assert [connection.recv(1) for connection in began] == [b""] * 4
    assert server.wait() == 0
    assert "stop_timed_out" not in server.log
    for connection in began:
        connection.close()


def test_drain(env: Environment, tmp_path: Path) -> None:
    """For SERVER_DRAIN_S after SIGTERM new connections are served as before, but health is 503. Then it stops."""
    own = {"SERVER_DRAIN_S": str(_DRAIN_S), "SERVER_STOP_TIMEOUT_S": "30", "SERVER_WORKERS": "1"}
    with Server(env.variables | own, tmp_path) as server:
        assert server.accounts.call("GET", "/health").status_code == 200
        server.signal(SIGTERM)
        signalled_at = monotonic()
        assert wait_until(lambda: "drain_started" in server.log, 10)
        response = requests.get(f"{server.url}/api/health", timeout=10)
        assert (response.status_code, response.json()["status"], response.json()["draining"]) == (503, "failing", True)
        assert response.headers["Retry-After"] == "1"
        assert server.responds()
        assert server.wait() == 0
        assert monotonic() - signalled_at >= _DRAIN_S
        # By its log, because a busy machine takes seconds to end a process.
        drained = _time_of(server, "message", "Shutting down") - _time_of(server, "event", "drain_started")
        assert drained < timedelta(seconds=_DRAIN_S + 5)
        assert "stop_timed_out" not in server.log


def test_new_connections_are_refused(env: Environment, server: Server) -> None:
    """During a stop new connections are refused, a second SIGTERM has no effect, and the open request succeeds."""
    with _activation(env, server) as response:
        server.signal(SIGTERM)
        assert wait_until(lambda: _refuses(server), 10)
        server.signal(SIGTERM)
        assert _refuses(server)
        assert not response.done()
        env.reset_antifraud()
        assert response.result(20).status_code == 200
    assert server.wait() == 0
    assert "stop_timed_out" not in server.log


def test_stop_timeout(env: Environment, tmp_path: Path) -> None:
    """After the timeout a request is cut off and logged, and the server exits although its handler is still running."""
    own = {"SERVER_STOP_TIMEOUT_S": str(_STOP_TIMEOUT_S), "ANTIFRAUD_READ_TIMEOUT_S": str(_HANDLER_S)}
    with Server(env.variables | own, tmp_path) as server:
        workers = server.workers()
        with _activation(env, server) as response:
            signalled_at = monotonic()
            assert server.end() == 0
            assert _STOP_TIMEOUT_S < monotonic() - signalled_at < _HANDLER_S
            with pytest.raises(requests.ConnectionError):
                response.result(5)
        assert wait_gone(workers, 1)
    waited = _time_of(server, "event", "stop_timed_out") - _time_of(server, "message", "Shutting down")
    assert waited < timedelta(seconds=_STOP_TIMEOUT_S + 3)
    [line] = [line for line in server.lines() if line["event"] == "stop_timed_out"]
    assert (line["level"], line["requests"], line["connections"]) == ("error", 1, 1)
    assert server.tracebacks() == []


@pytest.mark.parametrize("signals", [[SIGINT], [SIGQUIT], [SIGTERM, SIGINT]], ids=str)
def test_immediate_stop(env: Environment, server: Server, signals: list[int]) -> None:
    """SIGINT and SIGQUIT do not wait for requests, also during a graceful stop."""
    workers = server.workers()
    with _activation(env, server) as response:
        signalled_at = monotonic()
        for number in signals:
            server.signal(number)
        assert server.wait() == 0
        assert monotonic() - signalled_at < 10
        with pytest.raises(requests.ConnectionError):
            response.result(5)
    assert wait_gone(workers, 1)


def test_stop_of_a_worker(env: Environment, server: Server) -> None:
    """A worker that gets SIGTERM finishes its request and is replaced, and no connection is refused."""
    [worker] = server.workers()
    with _activation(env, server) as response, ThreadPoolExecutor(1) as threads:
        worker.send_signal(SIGTERM)
        assert wait_until(lambda: _is_stopping(server), 10)
        other = threads.submit(server.responds)
        assert not response.done()
        env.reset_antifraud()
        assert response.result(20).status_code == 200
        assert other.result(20)
    assert server.workers() != [worker]


def test_reload(env: Environment, server: Server) -> None:
    """After SIGHUP the old worker finishes its request and is replaced."""
    [worker] = server.workers()
    with _activation(env, server) as response:
        server.signal(SIGHUP)
        assert wait_until(lambda: _is_stopping(server), 10)
        assert server.responds()
        assert not response.done()
        env.reset_antifraud()
        assert response.result(20).status_code == 200
    assert wait_until(lambda: len(server.workers()) == 1, 10)
    assert server.workers() != [worker]
