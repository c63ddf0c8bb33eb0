"""The command `demo`: filled once for all tests of this module."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from promo_api.check import Level, check_all
from promo_api.config.settings import known_names
from promo_api.dev.ports import free_port
from promo_api.dev.processes import wait_until
from tests.e2e.remote import Remote

_ROOT = Path(__file__).parents[2]
_COMMAND = (sys.executable, "-m", "promo_api", "demo")
_STATES = {"active", "paused", "archived", "scheduled", "expired", "exhausted"}
# An expired hold stays `held` until its code is needed.
_REDEMPTIONS = {"held", "confirmed", "released", "voided"}
_SIZES = {"companies": 12, "promos": 60, "users": 5_000, "activations": 40_000}

_ISSUED_LATER = """
    SELECT count(*) FROM promo_codes JOIN activations
    ON activations.promo_id = promo_codes.promo_id AND activations.code_position = promo_codes.position
    WHERE issued_at <> activated_at
"""


class Demo:
    """The command in a folder; it can be started several times."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{free_port('127.0.0.1')}"
        self.remote = Remote(f"http://{self.address}")
        self.printed = ""
        self.database = f"host={folder}/.promo-demo/postgres user=postgres dbname=promo"
        self._process: subprocess.Popen[str] | None = None

    def start(self, until: str = "Press Ctrl-C") -> str:
        """Start the command, and return its output up to a line, by default that it is ready."""
        around = {name: value for name, value in os.environ.items() if name not in known_names()}
        # The demo must not use the servers that these name.
        around |= {"POSTGRES_HOST": "database.example", "REDIS_URL": "redis://cache.example"}
        self._process = subprocess.Popen(
            _COMMAND, env=around | {"PYTHONPATH": str(_ROOT), "SERVER_ADDRESS": self.address}, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.printed = ""
        for line in self._process.stdout:
            self.printed += line
            if line.startswith(until):
                return self.printed
        raise AssertionError(self.printed)

    def stop(self) -> int | None:
        """Press Ctrl-C, and return the exit status; None if it is not running."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        return process.returncode

    def sign_in(self, kind: str) -> str:
        """Sign in as the command says, and return the token."""
        line = next(line for line in self.printed.splitlines() if f"Sign in as {kind}" in line)
        email, password = line.split()[4].rstrip(","), line.split()[6]
        path = "business" if kind == "company" else "user"
        body = {"email": email, "password": password}
        response = self.remote.post(f"/api/{path}/auth/sign-in", json=body)
        assert response.status_code == 200, response.text
        return str(response.json()["token"])

    def get(self, path: str, token: str) -> Any:
        """Return the body of a response."""
        response = self.remote.get(f"/api{path}", headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """The running command, with its data."""
    # Not tmp_path, which the user of PostgreSQL may be unable to enter.
    with TemporaryDirectory(prefix="promo-demo-") as folder:
        demo = Demo(Path(folder).resolve())
        try:
            demo.start()
            yield demo
        finally:
            demo.stop()


def test_data(demo: Demo) -> None:
    """The database has what the command promises, and each stored count agrees with a recount."""
    with psycopg.connect(demo.database) as connection:
        sizes = {table: _rows(connection, f"SELECT count(*) FROM {table}")[0] for table in _SIZES}  # noqa: S608
        times = _rows(connection, "SELECT activated_at FROM activations ORDER BY activated_at")
        redemptions = _rows(connection, "SELECT DISTINCT state FROM redemptions")
        reported = _rows(connection, "SELECT text FROM comments WHERE report_count > 0")
        issued_later = _rows(connection, _ISSUED_LATER)
        schemas = _rows(connection, "SELECT nspname FROM pg_namespace WHERE nspname = 'demo'")
    assert sizes == _SIZES
    assert {*redemptions} == _REDEMPTIONS
    assert len(reported) == 3
    assert (issued_later, schemas) == ([0], [])
    assert len({*times}) > 39_000
    days = Counter(time.astimezone(UTC).date() for time in times)
    today = max(days)
    assert all(days[today - timedelta(days=day)] > 100 for day in range(1, 30))
    assert datetime.now(UTC) - times[0] < timedelta(days=31)
    assert times[-1] - times[0] > timedelta(days=29, hours=20)
    findings = [*check_all(_settings(demo), {}, ["schema", "counts"])]
    assert [finding for finding in findings if finding.level is not Level.OK] == []


def _rows(connection: psycopg.Connection[Any], query: str) -> list[Any]:
    """Return the first column."""
    return [row[0] for row in connection.execute(query)]  # type: ignore[arg-type]


def _settings(demo: Demo) -> dict[str, str]:
    """Return the settings of the service."""
    return {
        "POSTGRES_HOST": f"{demo.folder}/.promo-demo/postgres",
        "POSTGRES_USERNAME": "postgres",
        "POSTGRES_DATABASE": "promo",
        "SERVER_ADDRESS": demo.address,
        "ANTIFRAUD_ADDRESS": "none",
        "SECRET_KEY": (demo.folder / ".promo-demo" / "secret_key").read_text().strip(),
    }


def test_company(demo: Demo) -> None:
    """The printed sign-in shows promos in all states, a webhook that fails and another that works."""
    assert f"http://{demo.address}/console/" in demo.printed
    token = demo.sign_in("company")
    promos = demo.get("/business/promo?limit=50", token)
    assert len(promos) == 9
    assert {promo["state"] for promo in promos} == _STATES - {"archived"}
    assert sum(promo["used_count"] for promo in promos) == 12_500
    failing, working = demo.get("/business/webhooks", token)
    assert "failing_since" in failing
    assert "failing_since" not in working
    assert {each["state"] for each in demo.get(f"/business/webhooks/{working['id']}/deliveries", token)} == {
        "succeeded"
    }
    [key] = [line.split()[2] for line in demo.printed.splitlines() if "API key" in line]
    response = demo.remote.get("/api/business/promo", headers={"X-Api-Key": key})
    assert response.status_code == 200, response.text


def test_webhook(demo: Demo) -> None:
    """The webhook that works receives a new event."""
    token = demo.sign_in("company")
    path = f"/business/webhooks/{demo.get('/business/webhooks', token)[1]['id']}"
    response = demo.remote.post(f"/api{path}/test", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 202, response.text
    sent = {"event_id": response.json()["event_id"], "state": "succeeded"}
    assert wait_until(lambda: any(each.items() >= sent.items() for each in demo.get(f"{path}/deliveries", token)), 60)


def test_user(demo: Demo) -> None:
    """The printed sign-in of a user shows a feed and activations."""
    token = demo.sign_in("user")
    assert len(demo.get("/user/feed?limit=100", token)) > 30
    assert demo.get("/user/activations", token)


def test_restart(demo: Demo) -> None:
    """A second start finds the data and does not fill again; one on another day does."""
    assert demo.stop() == 0
    assert "Data:" not in demo.start()
    demo.sign_in("company")
    assert demo.stop() == 0
    file = demo.folder / ".promo-demo" / "filled.json"
    filled = json.loads(file.read_text())
    file.write_text(json.dumps(filled | {"filled_at": "2026-01-02T12:00:00+00:00"}))
    assert "Data: that of 02 January is replaced" in demo.start(until="Data:")
    assert demo.stop() == 0
    assert not file.exists()
