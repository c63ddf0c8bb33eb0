"""The stand-in of the anti-fraud service."""

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

from promo_api.dev import SandboxError
from promo_api.dev.antifraud_stub import EmbeddedAntifraud, create_stub
from promo_api.dev.ports import free_port, listen
from promo_api.dev.processes import wait_until

EMAIL = "person@example.com"
NO_CALLS: dict[str, Any] = {"total": 0, "by_email": {}, "at_once": {}, "malformed": 0}


class Stub:
    """A client of a stand-in."""

    def __init__(self, server: EmbeddedAntifraud) -> None:
        self.server = server

    def validate(self, email: str = EMAIL) -> requests.Response:
        """Call it as the service does."""
        body = {"user_email": email, "promo_id": "5b1f"}
        return requests.post(f"http://{self.server.address}/api/validate", json=body, timeout=60)

    def steer(self, **members: object) -> requests.Response:
        """Give it a behaviour."""
        return requests.put(f"http://{self.server.address}/stub/behaviour", json=members, timeout=10)

    def calls(self) -> Any:
        """Return its counts."""
        return requests.get(f"http://{self.server.address}/stub/calls", timeout=10).json()

    def reset(self) -> None:
        """Make it forget everything."""
        assert requests.delete(f"http://{self.server.address}/stub", timeout=10).status_code == 204


@pytest.fixture
def stub() -> Iterator[Stub]:
    """Return a client of a stand-in that runs for one test."""
    with EmbeddedAntifraud() as server:
        yield Stub(server)


def test_says_yes_and_nothing_about_caching(stub: Stub) -> None:
    """Nobody has steered it: the verdict is yes, to be asked for again next time."""
    answer = stub.validate()
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert answer.headers["Content-Type"] == "application/json"


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
def test_other_than_the_protocol_is_refused(body: bytes, media_type: str) -> None:
    """A request that is not exactly of the protocol's form gets 400 and counts as malformed."""
    client = create_stub().test_client()
    assert client.post("/api/validate", data=body, content_type=media_type).status_code == 400
    assert client.get("/stub/calls").json == NO_CALLS | {"malformed": 1}


def test_verdict_with_a_time_to_keep_it(stub: Stub) -> None:
    """`cache_ms` counts from the answer, `cache_until` is passed on as it was given."""
    stub.steer(ok=False, cache_ms=5000)
    before = datetime.now(UTC)
    verdict = stub.validate().json()
    assert verdict["ok"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", verdict["cache_until"])
    until = datetime.fromisoformat(verdict["cache_until"] + "+00:00")
    assert timedelta(seconds=4.9) < until - before < timedelta(seconds=10)
    stub.steer(cache_until="2025-01-16T00:17:57.567")
    assert stub.validate().json() == {"ok": True, "cache_until": "2025-01-16T00:17:57.567"}


def test_behaviour_for_one_address(stub: Stub) -> None:
    """A behaviour with an e-mail address is for that one alone, and goes before the one for all."""
    stub.steer(user_email=EMAIL, ok=False)
    stub.steer(status=500)
    assert stub.validate().json() == {"ok": False}
    assert stub.validate("other@example.com").status_code == 500


def test_answers_out_of_order(stub: Stub) -> None:
    """It answers with any status and any body, or not at all."""
    stub.steer(status=418)
    assert stub.validate().status_code == 418
    stub.steer(body="<html>")
    assert stub.validate().text == "<html>"
    stub.steer(disconnect=True)
    connection = HTTPConnection(stub.server.address)
    with pytest.raises(RemoteDisconnected):
        ask(connection)
    connection.close()


def test_fails_a_number_of_calls(stub: Stub) -> None:
    """`fail_next` bounds what is out of order, 503 if it isn't said what; the verdict stays."""
    stub.steer(ok=False, fail_next=2)
    assert [stub.validate().status_code for _ in range(3)] == [503, 503, 200]
    assert stub.validate().json() == {"ok": False}
    stub.steer(body="?", fail_next=1)
    assert [stub.validate().text for _ in range(2)] == ["?", '{"ok": true}']


@pytest.mark.parametrize(
    "members",
    [{"okay": True}, {"ok": 1}, {"status": True}, {"status": 99}, {"delay_ms": -1}, {"body": {}}, {"user_email": 1}],
)
def test_unknown_behaviour_is_refused(members: dict[str, object]) -> None:
    """A slip of the pen in a test's steering is told at once and changes nothing."""
    client = create_stub().test_client()
    assert client.put("/stub/behaviour", json=members).status_code == 400
    answer = client.post("/api/validate", json={"user_email": EMAIL, "promo_id": "x"})
    assert answer.json == {"ok": True}


def test_counts_are_exact_under_load(stub: Stub) -> None:
    """Of concurrent calls each is counted once, and exactly so many fail as were to."""
    stub.steer(fail_next=25)
    emails = [f"{number % 7}@example.com" for number in range(210)]
    with ThreadPoolExecutor(30) as pool:
        statuses = Counter(answer.status_code for answer in pool.map(stub.validate, emails))
    assert statuses == {503: 25, 200: 185}
    by_email = {f"{number}@example.com": 30 for number in range(7)}
    told = stub.calls()
    assert told.pop("at_once").keys() == by_email.keys()
    assert told == {"total": 210, "by_email": by_email, "malformed": 0}


def test_delayed_call_holds_up_nobody(stub: Stub) -> None:
    """While calls are held back others are answered; forgetting everything lets them go."""
    stub.steer(user_email=EMAIL, delay_ms=600_000)
    with ThreadPoolExecutor(20) as pool:
        delayed = [pool.submit(stub.validate) for _ in range(20)]
        assert wait_until(lambda: stub.calls()["total"] == 20, 10)
        assert stub.validate("other@example.com").status_code == 200
        assert not any(call.done() for call in delayed)
        assert stub.calls()["at_once"] == {EMAIL: 20, "other@example.com": 1}
        stub.reset()
        assert {call.result(10).status_code for call in delayed} == {200}
    assert stub.calls() == NO_CALLS


def test_calls_at_once(stub: Stub) -> None:
    """Of an address it tells how many calls there were at the same time at most; forgetting starts that anew."""
    stub.steer(user_email=EMAIL, delay_ms=600_000, fail_next=3)
    with ThreadPoolExecutor(3) as pool:
        held = [pool.submit(stub.validate) for _ in range(3)]
        assert wait_until(lambda: stub.calls()["total"] == 3, 10)
        stub.reset()
        assert {call.result(10).status_code for call in held} == {200}
    for _ in range(2):
        stub.validate()
    assert stub.calls()["at_once"] == {EMAIL: 1}


def test_connection_is_kept(stub: Stub) -> None:
    """One connection serves many calls, also after one that was refused or had a body nobody wanted."""
    connection = HTTPConnection(stub.server.address)
    connection.connect()
    kept = connection.sock
    assert ask(connection) == 200
    assert ask(connection, b"nonsense") == 400
    assert ask(connection, path="/no/such/path") == 404
    assert ask(connection) == 200
    assert connection.sock is kept
    connection.close()


def test_stop_closes_kept_connections(stub: Stub) -> None:
    """A stopped stand-in answers on no connection; started again it listens where it was and knows what it knew."""
    connection = HTTPConnection(stub.server.address)
    assert ask(connection) == 200
    address = stub.server.address
    stub.server.stop()
    for _kept_and_new in range(2):
        with pytest.raises(ConnectionError):
            ask(connection)
        connection.close()
    stub.server.start()
    assert stub.server.address == address
    assert ask(connection) == 200
    assert stub.calls()["total"] == 2
    connection.close()


def test_stop_while_a_call_is_held_back(stub: Stub) -> None:
    """A stop cuts off the calls that are held back, and waits for none."""
    stub.steer(delay_ms=600_000)
    with ThreadPoolExecutor(1) as pool:
        delayed = pool.submit(stub.validate)
        assert wait_until(lambda: stub.calls()["total"] == 1, 10)
        stub.server.stop()
        assert isinstance(delayed.exception(10), requests.ConnectionError)


def test_taken_port_is_a_sentence() -> None:
    """A port that is taken is named."""
    with listen("127.0.0.1", None) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SandboxError, match=rf"^Port {port} of 127\.0\.0\.1 can't be listened on: .*\.$"):
            EmbeddedAntifraud(port=port).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_ends_cleanly(start_python: Callable[..., "subprocess.Popen[str]"], number: signal.Signals) -> None:
    """The command warns that it allows everything, serves until it is asked to stop, and ends with status 0."""
    code = "import sys; from promo_api.dev.antifraud_stub import run_stub; sys.exit(run_stub('127.0.0.1', {}))"
    port = free_port("127.0.0.1")
    process = start_python(code.format(port))
    assert process.stdout is not None
    assert process.stdout.readline() == f"The anti-fraud stand-in listens on http://127.0.0.1:{port}\n"
    assert Stub(EmbeddedAntifraud(port=port)).validate().json() == {"ok": True}
    process.send_signal(number)
    output, warning = process.communicate(timeout=10)
    assert output == ""
    assert warning.startswith("WARNING: this is not an anti-fraud service. It allows every activation unless ")
    assert "Never use it in production" in warning
    assert process.returncode == 0


def ask(connection: HTTPConnection, body: bytes | None = None, path: str = "/api/validate") -> int:
    """Call it on a given connection and return the status."""
    sent = body or f'{{"user_email": "{EMAIL}", "promo_id": "x"}}'.encode()
    connection.request("POST", path, sent, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status
