"""A stand-in of the anti-fraud service: its protocol, and what it answers is steered over HTTP.

    POST   /api/validate    the protocol; a request that is not of its form gets 400
    PUT    /stub/behaviour  how it answers from now on; what is not given is as at the start
    GET    /stub/calls      {"total": 3, "by_email": {"a@b.c": 3}, "at_once": {"a@b.c": 1}, "malformed": 0}, counted
                            when a call arrives; `at_once`: how many there were at the same time at most
    DELETE /stub            forget all behaviour and calls, let calls that are held back go

The members of a behaviour, all of them optional:

    user_email   string   only for the calls about this e-mail address; without it: for all that have none of their own
    ok           boolean  the verdict; at the start: true
    cache_ms     integer  `cache_until` is so many milliseconds after the answer
    cache_until  string   `cache_until` is exactly this; at the start neither is given, and the answer has none
    delay_ms     integer  hold the answer back
    status       integer  answer with this status
    body         string   answer with this instead of JSON of the protocol's form
    disconnect   boolean  close the connection without an answer
    fail_next    integer  the last four hold only for so many calls, then it answers in order; with none of the four
                          given, those calls get status 503
"""

import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

from flask import Flask, Response, request

from promo_api.dev import SandboxError
from promo_api.dev.embedded import Embedded
from promo_api.dev.keepalive import KeepAliveServer
from promo_api.dev.ports import listen
from promo_api.dev.signals import stop_signals

_WARNING = (
    "WARNING: this is not an anti-fraud service. It allows every activation unless PUT /stub/behaviour changes that. "
    "Never use it in production: point ANTIFRAUD_ADDRESS at your anti-fraud service.\n"
)
_BOUNDS = {
    "cache_ms": (-(10**12), 10**12),
    "delay_ms": (0, 600_000),
    "status": (200, 599),
    "fail_next": (0, 10**6),
}


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How the stand-in answers; its members are those of the table above."""

    ok: bool = True
    cache_ms: int | None = None
    cache_until: str | None = None
    delay_ms: int = 0
    status: int = 200
    body: str | None = None
    disconnect: bool = False
    fail_next: int | None = None

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Self:
        """Return the behaviour that a request asks for.

        Raises:
            ValueError: a member is unknown, of another type, or out of its bounds; the message says which.
        """
        for name, value in members.items():
            _check_member(name, value)
        behaviour = cls(**members)
        if behaviour.fail_next is not None and not members.keys() & {"delay_ms", "status", "body", "disconnect"}:
            return replace(behaviour, status=503)
        return behaviour

    def in_order(self) -> Self:
        """Return the same without anything that disturbs an answer."""
        return replace(self, delay_ms=0, status=200, body=None, disconnect=False)

    def answer(self) -> str:
        """Return the body of an answer that is sent now."""
        if self.body is not None:
            return self.body
        verdict: dict[str, Any] = {"ok": self.ok}
        if self.cache_until is not None:
            verdict["cache_until"] = self.cache_until
        elif self.cache_ms is not None:
            until = datetime.now(UTC) + timedelta(milliseconds=self.cache_ms)
            verdict["cache_until"] = until.replace(tzinfo=None).isoformat(timespec="milliseconds")
        return json.dumps(verdict)


def _check_member(name: str, value: Any) -> None:
    types = {field.name: field.type for field in fields(Behaviour)}
    if name not in types:
        raise ValueError(f"a behaviour has no {name}")
    kind = types[name]
    # A boolean is an integer to isinstance.
    wanted: type[Any] = bool if kind is bool else int if name in _BOUNDS else str
    if type(value) is not wanted:
        raise ValueError(f"{name} must be of type {wanted.__name__}")
    if name in _BOUNDS:
        low, high = _BOUNDS[name]
        if not low <= value <= high:
            raise ValueError(f"{name} must be {low} to {high}")


class _Call(NamedTuple):
    behaviour: Behaviour
    let_go: threading.Event


class AntifraudStub:
    """The behaviour that was asked for and the calls that came, shared by all threads of one stand-in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._let_go = threading.Event()
        self._running: Counter[str] = Counter()
        self._reset()

    def validate(self) -> Response:
        """Answer a call of the protocol."""
        email = _protocol_email()
        if email is None:
            with self._lock:
                self._malformed += 1
            return _refuse('a JSON object {"user_email": string, "promo_id": string} is wanted')
        behaviour, let_go = self._take(email)
        if behaviour.delay_ms:
            let_go.wait(behaviour.delay_ms / 1000)
        with self._lock:
            self._running[email] -= 1
        if behaviour.disconnect:
            _disconnect()
        return Response(behaviour.answer(), behaviour.status, mimetype="application/json")

    def steer(self) -> Response:
        """Take over a behaviour."""
        members = request.get_json(silent=True)
        if not isinstance(members, dict):
            return _refuse("a JSON object is wanted")
        email = members.pop("user_email", "")
        if not isinstance(email, str):
            return _refuse("user_email must be of type str")
        try:
            behaviour = Behaviour.from_json(members)
        except ValueError as error:
            return _refuse(str(error))
        with self._lock:
            self._behaviours[email] = behaviour
        return Response(status=204)

    def report(self) -> Response:
        """Answer how many calls came."""
        with self._lock:
            report = {
                "total": self._calls.total(),
                "by_email": self._calls,
                "at_once": self._at_once,
                "malformed": self._malformed,
            }
            return Response(json.dumps(report), mimetype="application/json")

    def reset(self) -> Response:
        """Forget everything."""
        with self._lock:
            self._reset()
        self.let_go()
        return Response(status=204)

    def let_go(self) -> None:
        """Answer at once the calls that are held back."""
        with self._lock:
            let_go, self._let_go = self._let_go, threading.Event()
        let_go.set()

    def _reset(self) -> None:
        # The behaviour for all is that of the address "", which no call is about.
        self._behaviours = {"": Behaviour()}
        self._calls: Counter[str] = Counter()
        self._at_once: dict[str, int] = {}
        self._malformed = 0

    def _take(self, email: str) -> _Call:
        with self._lock:
            self._calls[email] += 1
            self._running[email] += 1
            self._at_once[email] = max(self._at_once.get(email, 0), self._running[email])
            whose = email if email in self._behaviours else ""
            behaviour = self._behaviours[whose]
            if behaviour.fail_next == 0:
                behaviour = behaviour.in_order()
            elif behaviour.fail_next is not None:
                self._behaviours[whose] = replace(behaviour, fail_next=behaviour.fail_next - 1)
            return _Call(behaviour, self._let_go)


def create_stub(stub: AntifraudStub | None = None) -> Flask:
    """Return the stand-in as a Flask app, with a state of its own unless it is given one."""
    state = stub or AntifraudStub()
    app = Flask(__name__, static_folder=None)
    app.add_url_rule("/api/validate", view_func=state.validate, methods=["POST"])
    app.add_url_rule("/stub/behaviour", view_func=state.steer, methods=["PUT"])
    app.add_url_rule("/stub/calls", view_func=state.report, methods=["GET"])
    app.add_url_rule("/stub", view_func=state.reset, methods=["DELETE"])
    return app


class EmbeddedAntifraud(Embedded):
    """The stand-in on a port of this process, in threads of its own.

    Args:
        host: to listen on.
        port: to listen on; None: a free one, which stays the same over restarts.

    Attributes:
        host: as given.
        port: certain once it has been started, as is the address.
    """

    def __init__(self, host: str = "127.0.0.1", port: int | None = None) -> None:
        self._stub = AntifraudStub()
        self._app = create_stub(self._stub)
        self._server: KeepAliveServer | None = None
        self.host = host
        self.port = port

    @property
    def address(self) -> str:
        """Where it listens, host:port, for ANTIFRAUD_ADDRESS."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def start(self) -> None:
        """Start to listen; when it does already, nothing changes.

        Raises:
            SandboxError: the port can't be listened on.
        """
        if self._server is None:
            with listen(self.host, self.port) as listener:
                self.port = int(listener.getsockname()[1])
                self._server = KeepAliveServer(self._app, self.host, listener)
            self._server.start()

    def stop(self) -> None:
        """Close every connection and stop listening; behaviour and counts stay for the next start."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()
            self._stub.let_go()


def run_stub(host: str, port: int) -> int:
    """Run the stand-in until SIGINT or SIGTERM: the command `antifraud-stub`.

    Returns:
        The exit status: 0, or 1 when it can't listen there.
    """
    try:
        with stop_signals() as signals, EmbeddedAntifraud(host, port) as antifraud:
            sys.stdout.write(f"The anti-fraud stand-in listens on http://{antifraud.address}\n")
            sys.stdout.flush()
            sys.stderr.write(_WARNING)
            sys.stderr.flush()
            signals.wait()
    except SandboxError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _protocol_email() -> str | None:
    members = request.get_json(silent=True)
    if not isinstance(members, dict) or members.keys() != {"user_email", "promo_id"}:
        return None
    email, promo = members["user_email"], members["promo_id"]
    return email if isinstance(email, str) and isinstance(promo, str) and email and promo else None


def _refuse(problem: str) -> Response:
    return Response(json.dumps({"problem": problem}), 400, mimetype="application/json")


def _disconnect() -> None:
    connection = request.environ.get("werkzeug.socket")
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
