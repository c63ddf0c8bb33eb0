"""A stub of the anti-fraud service. Clients configure its responses over HTTP.

    POST   /api/validate    the protocol
    PUT    /stub/behaviour  sets how it responds; missing members get their defaults
    GET    /stub/calls      {"total": 3, "by_email": {"a@b.c": 3}, "at_once": {"a@b.c": 1}, "malformed": 0}
                            `at_once`: most concurrent calls
    DELETE /stub            forgets behaviours and calls, releases delayed calls

The members of a behaviour, all optional:

    user_email   string   only calls about this address; default: all others
    ok           boolean  the verdict; default: true
    cache_ms     integer  `cache_until` this long after the response
    cache_until  string   exactly this `cache_until`
    delay_ms     integer  delays the response
    status       integer  of the response
    body         string   of the response
    disconnect   boolean  closes the connection instead
    fail_next    integer  limits the last four to this many calls; without them: status 503
"""

import json
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from promo_api.dev.antifraud_behaviour import Behaviour, StubState
from promo_api.dev.embedded import DevError, EmbeddedServer
from promo_api.dev.ports import listen
from promo_api.dev.signals import stop_signals

_WARNING = (
    "WARNING: this is not an anti-fraud service. It allows every activation unless PUT /stub/behaviour changes that. "
    "Never use it in production: set ANTIFRAUD_ADDRESS to your anti-fraud service.\n"
)
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_POLL_S = 0.02


class EmbeddedAntifraud(EmbeddedServer):
    """The stub, in threads of this process. Without `port`, it selects a free one and keeps it."""

    def __init__(self, host: str = "127.0.0.1", port: int | None = None) -> None:
        self._state = StubState()
        self._server: _Server | None = None
        self.host = host
        self.port = port

    @property
    def address(self) -> str:
        """HOST:PORT, for ANTIFRAUD_ADDRESS."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def start(self) -> None:
        """Listen unless it is running, or raise DevError."""
        if self._server is None:
            listener = listen(self.host, self.port)
            self.port = int(listener.getsockname()[1])
            self._server = _Server(listener, self._state)

    def stop(self) -> None:
        """Stop, and close all connections. Behaviours and counts survive."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()
            self._state.release_delayed_calls()


def run_stub(host: str, port: int) -> int:
    """Run until SIGINT or SIGTERM. Return 0, or 1 if the address is unavailable."""
    try:
        with stop_signals() as signals, EmbeddedAntifraud(host, port) as antifraud:
            sys.stdout.write(f"The anti-fraud stub listens on http://{antifraud.address}\n")
            sys.stdout.flush()
            sys.stderr.write(_WARNING)
            sys.stderr.flush()
            signals.wait()
    except DevError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


class _Server(ThreadingHTTPServer):
    def __init__(self, listener: socket.socket, state: StubState) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.state = state
        self._lock = threading.Lock()
        self._connections: set[Any] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_S,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        # Otherwise keep-alive connections go on responding.
        with self._lock:
            for connection in self._connections:
                _hang_up(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"  # keep-alive
    # With Nagle's algorithm the body waits about 40 ms for the ACK of the head.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self._run("/api/validate", self._validate)

    def do_PUT(self) -> None:
        self._run("/stub/behaviour", self._configure)

    def do_GET(self) -> None:
        self._run("/stub/calls", lambda _: self._respond(200, json.dumps(self.server.state.report())))

    def do_DELETE(self) -> None:
        self._run("/stub", self._reset)

    def log_message(self, format: str, *_arguments: Any) -> None:  # noqa: A002 the name is http.server's
        """Log nothing, to not bury the messages of `dev`."""

    def _run(self, path: str, function: Callable[[Any], None]) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path != path:
            self._respond_problem(404, "not found")
            return
        members = None
        if self.headers.get_content_type() == "application/json":
            with suppress(ValueError):
                members = json.loads(body)
        function(members)

    def _validate(self, members: Any) -> None:
        state = self.server.state
        if not _follows_protocol(members):
            state.count_malformed_call()
            self._respond_problem(400, 'the body must be a JSON object {"user_email": string, "promo_id": string}')
            return
        email = members["user_email"]
        behaviour, released = state.begin_call(email)
        if behaviour.delay_ms:
            released.wait(behaviour.delay_ms / 1000)
        state.end_call(email)
        if behaviour.disconnect:
            self.close_connection = True
            _hang_up(self.connection)
        else:
            self._respond(behaviour.status, behaviour.response_body())

    def _configure(self, members: Any) -> None:
        if not isinstance(members, dict):
            self._respond_problem(400, "the body must be a JSON object")
            return
        email = members.pop("user_email", "")
        if not isinstance(email, str):
            self._respond_problem(400, "user_email must be of type str")
            return
        try:
            self.server.state.set_behaviour(email, Behaviour.from_json(members))
        except ValueError as error:
            self._respond_problem(400, str(error))
        else:
            self._respond(204)

    def _reset(self, _members: Any) -> None:
        self.server.state.reset()
        self._respond(204)

    def _respond_problem(self, status: int, problem: str) -> None:
        self._respond(status, json.dumps({"problem": problem}))

    def _respond(self, status: int, text: str = "") -> None:
        body = b"" if status in _WITHOUT_BODY else text.encode()
        self.send_response(status)
        if status not in _WITHOUT_BODY:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _follows_protocol(members: Any) -> bool:
    return (
        isinstance(members, dict)
        and members.keys() == {"user_email", "promo_id"}
        and all(isinstance(value, str) and value for value in members.values())
    )


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
