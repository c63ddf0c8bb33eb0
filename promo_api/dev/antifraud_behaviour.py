"""Responses of the anti-fraud stub, and counts of calls."""

import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

_RANGES = {
    "cache_ms": (-(10**12), 10**12),
    "delay_ms": (0, 600_000),
    "status": (200, 599),
    "fail_next": (0, 10**6),
}
_FAULTS = {"delay_ms", "status", "body", "disconnect"}


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The members are documented in antifraud_stub."""

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
        """Return a valid behaviour, or raise ValueError."""
        for name, value in members.items():
            _check_member(name, value)
        behaviour = cls(**members)
        if behaviour.fail_next is not None and not members.keys() & _FAULTS:
            return replace(behaviour, status=503)
        return behaviour

    def without_faults(self) -> Self:
        """Return it with a prompt and valid response."""
        return replace(self, delay_ms=0, status=200, body=None, disconnect=False)

    def response_body(self) -> str:
        """Return the body of a response sent now."""
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
        raise ValueError(f"{name} is not a member of a behaviour")
    expected: type[Any] = bool if types[name] is bool else int if name in _RANGES else str
    if type(value) is not expected:  # not isinstance: True is an int
        raise ValueError(f"{name} must be of type {expected.__name__}")
    if name in _RANGES:
        low, high = _RANGES[name]
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}")


class Call(NamedTuple):
    """The behaviour of a call, and an event that ends its delay early."""

    behaviour: Behaviour
    released: threading.Event


class StubState:
    """The configured behaviours and the counted calls. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._running: Counter[str] = Counter()
        self._clear()

    def begin_call(self, email: str) -> Call:
        """Count a call, and return how to respond to it."""
        with self._lock:
            self._calls[email] += 1
            self._running[email] += 1
            self._most_running[email] = max(self._most_running.get(email, 0), self._running[email])
            key = email if email in self._behaviours else ""
            behaviour = self._behaviours[key]
            if behaviour.fail_next == 0:
                behaviour = behaviour.without_faults()
            elif behaviour.fail_next is not None:
                self._behaviours[key] = replace(behaviour, fail_next=behaviour.fail_next - 1)
            return Call(behaviour, self._released)

    def end_call(self, email: str) -> None:
        """Count a call as finished."""
        with self._lock:
            self._running[email] -= 1

    def count_malformed_call(self) -> None:
        """Count a malformed call."""
        with self._lock:
            self._malformed += 1

    def set_behaviour(self, email: str, behaviour: Behaviour) -> None:
        """Set the behaviour for an e-mail address; empty: all others."""
        with self._lock:
            self._behaviours[email] = behaviour

    def report(self) -> dict[str, Any]:
        """Return the counts for GET /stub/calls."""
        with self._lock:
            return {
                "total": self._calls.total(),
                "by_email": dict(self._calls),
                "at_once": dict(self._most_running),
                "malformed": self._malformed,
            }

    def reset(self) -> None:
        """Forget behaviours and counts; release delayed calls."""
        with self._lock:
            self._clear()
        self.release_delayed_calls()

    def release_delayed_calls(self) -> None:
        """Respond to delayed calls now."""
        with self._lock:
            released, self._released = self._released, threading.Event()
        released.set()

    def _clear(self) -> None:
        self._behaviours = {"": Behaviour()}
        self._calls: Counter[str] = Counter()
        self._most_running: dict[str, int] = {}
        self._malformed = 0
