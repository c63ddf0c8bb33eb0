"""The anti-fraud stub."""

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, RemoteDisconnected
from typing import Any

import pytest
import requests

from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.dev.embedded import DevError
from promo_api.dev.ports import free_port, listen
from promo_api.dev.processes import wait_until

EMAIL = "person@example.com"
NO_CALLS: dict[str, Any] = {"total": 0, "by_email": {}, "at_once": {}, "malformed": 0}


class Stub:
    """A client of a stub."""

    def __init__(self, server: EmbeddedAntifraud) -> None:
        self.server = server

    def validate(self, email: str = EMAIL) -> requests.Response:
        """Call it as the service does."""
        body = {"user_email": email, "promo_id": "5b1f"}
        return requests.post(f"http://{self.server.address}/api/validate", json=body, timeout=60)

    def configure(self, **members: object) -> requests.Response:
        """Set a behaviour."""
        return requests.put(f"http://{self.server.address}/stub/behaviour", json=members, timeout=10)

    def calls(self) -> Any:
        """Return the counts of calls."""
        return requests.get(f"http://{self.server.address}/stub/calls", timeout=10).json()

    def reset(self) -> None:
        """Reset behaviours and counts."""
        assert requests.delete(f"http://{self.server.address}/stub", timeout=10).status_code == 204


@pytest.fixture
def stub() -> Iterator[Stub]:
    """Return a client of a running stub."""
    with EmbeddedAntifraud() as server:
        yield Stub(server)


def test_default_behaviour(stub: Stub) -> None:
    """By default the verdict is positive and must not be cached."""
    response = stub.validate()
    assert (response.status_code, response.json()) == (200, {"ok": True})
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"user_email": "a@b.c"}', "application/json"),
        (b'{"user_email": 1, "promo_id": "x"}', "application/json"),
        (b'{"user_email": "", "promo_id": "x"}', "application/json"),
        (b'{"user_email": "a@b.c", "promo_id": null}', "application/json"),
        (b'{"user_email": "a@b.c", "promo_id": "x", "password": "y"}', "application/json"),
        (b'{"user_email": "a@b.c", "promo_id": "x"}', "text/plain"),
    ],
)
def test_malformed_call(stub: Stub, body: bytes, media_type: str) -> None:
    """A request that does not follow the protocol exactly gets 400 and counts as malformed."""
    url = f"http://{stub.server.address}/api/validate"
    assert requests.post(url, body, headers={"Content-Type": media_type}, timeout=10).status_code == 400
    assert stub.calls() == NO_CALLS | {"malformed": 1}


def test_cacheable_verdict(stub: Stub) -> None:
    """`cache_ms` is relative to the response; `cache_until` is returned unchanged."""
    stub.configure(ok=False, cache_ms=5000)
    before = datetime.now(UTC)
    verdict = stub.validate().json()
    assert verdict["ok"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", verdict["cache_until"])
    until = datetime.fromisoformat(verdict["cache_until"] + "+00:00")
    assert timedelta(seconds=4.9) < until - before < timedelta(seconds=10)
    stub.configure(cache_until="2025-01-16T00:17:57.567")
    assert stub.validate().json() == {"ok": True, "cache_until": "2025-01-16T00:17:57.567"}


def test_behaviour_for_one_email(stub: Stub) -> None:
    """A behaviour with an e-mail address applies to that address only, and takes precedence."""
    stub.configure(user_email=EMAIL, ok=False)
    stub.configure(status=500)
    assert stub.validate().json() == {"ok": False}
    assert stub.validate("other@example.com").status_code == 500


def test_faults(stub: Stub) -> None:
    """It can respond with any status and body, or close the connection."""
    stub.configure(status=418)
    assert stub.validate().status_code == 418
    stub.configure(body="<html>")
    assert stub.validate().text == "<html>"
    stub.configure(disconnect=True)
    connection = HTTPConnection(stub.server.address)
    with pytest.raises(RemoteDisconnected):
        ask(connection)
    connection.close()


def test_fail_next(stub: Stub) -> None:
    """`fail_next` limits the number of faults, by default status 503. The verdict remains."""
    stub.configure(ok=False, fail_next=2)
    assert [stub.validate().status_code for _ in range(3)] == [503, 503, 200]
    assert stub.validate().json() == {"ok": False}
    stub.configure(body="?", fail_next=1)
    assert [stub.validate().text for _ in range(2)] == ["?", '{"ok": true}']


@pytest.mark.parametrize(
    "members",
    [{"okay": True}, {"ok": 1}, {"status": True}, {"status": 99}, {"delay_ms": -1}, {"body": {}}, {"user_email": 1}],
)
def test_invalid_behaviour(stub: Stub, members: dict[str, object]) -> None:
    """An invalid behaviour gets 400 and changes nothing."""
    assert stub.configure(**members).status_code == 400
    assert stub.validate().json() == {"ok": True}


def test_counts_are_exact_under_load(stub: Stub) -> None:
    """Each concurrent call counts once, and exactly `fail_next` calls fail."""
    stub.configure(fail_next=25)
    emails = [f"{number % 7}@example.com" for number in range(210)]
    with ThreadPoolExecutor(30) as pool:
        statuses = Counter(response.status_code for response in pool.map(stub.validate, emails))
    assert statuses == {503: 25, 200: 185}
    by_email = {f"{number}@example.com": 30 for number in range(7)}
    counts = stub.calls()
    assert counts.pop("at_once").keys() == by_email.keys()
    assert counts == {"total": 210, "by_email": by_email, "malformed": 0}


def test_delayed_calls(stub: Stub) -> None:
    """Delayed calls do not delay others. A reset releases them."""
    stub.configure(user_email=EMAIL, delay_ms=600_000)
    with ThreadPoolExecutor(20) as pool:
        delayed = [pool.submit(stub.validate) for _ in range(20)]
        assert wait_until(lambda: stub.calls()["total"] == 20, 10)
        assert stub.validate("other@example.com").status_code == 200
        assert not any(call.done() for call in delayed)
        assert stub.calls()["at_once"] == {EMAIL: 20, "other@example.com": 1}
        stub.reset()
        assert {call.result(10).status_code for call in delayed} == {200}
    assert stub.calls() == NO_CALLS


def test_maximum_of_concurrent_calls(stub: Stub) -> None:
    """The maximum of concurrent calls is counted per address. A reset clears it."""
    stub.configure(user_email=EMAIL, delay_ms=600_000, fail_next=3)
    with ThreadPoolExecutor(3) as pool:
        delayed = [pool.submit(stub.validate) for _ in range(3)]
        assert wait_until(lambda: stub.calls()["total"] == 3, 10)
        stub.reset()
        assert {call.result(10).status_code for call in delayed} == {200}
    for _ in range(2):
        stub.validate()
    assert stub.calls()["at_once"] == {EMAIL: 1}


def test_keep_alive(stub: Stub) -> None:
    """One connection serves many calls, also after malformed ones and unknown paths."""
    connection = HTTPConnection(stub.server.address)
    connection.connect()
    opened = connection.sock
    assert ask(connection) == 200
    assert ask(connection, b"nonsense") == 400
    assert ask(connection, path="/no/such/path") == 404
    assert ask(connection) == 200
    assert connection.sock is opened
    connection.close()


def test_restart(stub: Stub) -> None:
    """A stop closes open connections. A restart keeps the address and the counts."""
    connection = HTTPConnection(stub.server.address)
    assert ask(connection) == 200
    address = stub.server.address
    stub.server.stop()
    for _open_and_new in range(2):
        with pytest.raises(ConnectionError):
            ask(connection)
        connection.close()
    stub.server.start()
    assert stub.server.address == address
    assert ask(connection) == 200
    assert stub.calls()["total"] == 2
    connection.close()


def test_stop_during_delayed_call(stub: Stub) -> None:
    """A stop does not wait for delayed calls."""
    stub.configure(delay_ms=600_000)
    with ThreadPoolExecutor(1) as pool:
        delayed = pool.submit(stub.validate)
        assert wait_until(lambda: stub.calls()["total"] == 1, 10)
        stub.server.stop()
        assert isinstance(delayed.exception(10), requests.ConnectionError)


def test_port_in_use() -> None:
    """A port in use raises an error that names the port."""
    with listen("127.0.0.1", None) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(DevError, match=rf"^Cannot listen on port {port} of 127\.0\.0\.1: .*\.$"):
            EmbeddedAntifraud(port=port).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command(start_python: Callable[..., "subprocess.Popen[str]"], number: signal.Signals) -> None:
    """The command prints a warning and serves until a stop signal, then ends with status 0."""
    code = "import sys; from promo_api.dev.antifraud_stub import run_stub; sys.exit(run_stub('127.0.0.1', {}))"
    port = free_port("127.0.0.1")
    process = start_python(code.format(port))
    assert process.stdout is not None
    assert process.stdout.readline() == f"The anti-fraud stub listens on http://127.0.0.1:{port}\n"
    assert Stub(EmbeddedAntifraud(port=port)).validate().json() == {"ok": True}
    process.send_signal(number)
    output, warning = process.communicate(timeout=10)
    assert output == ""
    assert warning.startswith("WARNING: this is not an anti-fraud service. It allows every activation unless ")
    assert "Never use it in production" in warning
    assert process.returncode == 0


def ask(connection: HTTPConnection, body: bytes | None = None, path: str = "/api/validate") -> int:
    """Call the stub on a connection; return the status."""
    sent = body or f'{{"user_email": "{EMAIL}", "promo_id": "x"}}'.encode()
    connection.request("POST", path, sent, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    return response.status
