"""Workers are killed while they activate promos and deliver the events: each activation reaches the receiver."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, text
from standardwebhooks import Webhook

from persistence.database.engine import Database
from persistence.schema.webhook_tables import webhooks
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.security.webhook_secrets import WebhookSecrets
from tests.accounts import Account
from tests.e2e.environment import assert_no_secrets
from tests.e2e.server import Server
from tests.e2e.storms import activate_during_kills
from tests.webhook_receiver import Receiver

_LIMIT = 400
_TIMEOUT_S = 60


@pytest.fixture
def delivering_server(empty_database: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """A server that delivers to this machine, with its own database: no other server takes its deliveries."""
    allowed = {"WEBHOOK_HTTP_ALLOWED": "true", "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
    with Server(empty_database | allowed, tmp_path) as server:
        yield server
    assert_no_secrets(server)


@pytest.fixture
def database(delivering_server: Server) -> Iterator[Database]:
    """The database of the server."""
    with closing(Database(Settings.from_environment(delivering_server.environment))) as database:
        yield database


def _add_webhook(database: Database, server: Server, company: Account, url: str) -> str:
    """Store a webhook, and return its secret."""
    secret = WebhookSecrets.generate()
    stored = WebhookSecrets(server.environment["SECRET_KEY"].split(",")).encrypt(secret)
    values = {"company_id": UUID(company.id), "id": uuid4(), "url": url, "event_types": [], "secret": stored}
    with database.autocommit() as connection:
        connection.execute(insert(webhooks), [values])
    return secret


def _end_leases(database: Database) -> None:
    """Let the leases of killed processes end at once."""
    with database.autocommit() as connection:
        connection.execute(text("UPDATE deliveries SET due_at = now() WHERE due_at > now()"))


def _feed(company: Account) -> list[dict[str, Any]]:
    """Return all events of the company."""
    events: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        response = company.get("/business/events", params={"limit": 100, **cursor})
        page = response.json()
        if not page:
            return events
        events += page
        cursor = {"cursor": response.headers["X-Next-Cursor"]}


def test_killed_workers_during_deliveries(delivering_server: Server, database: Database) -> None:
    """A storm of activations with kills of workers is delivered completely, and equal to the list of events."""
    server = delivering_server
    company = server.accounts.sign_up_company()
    users = [server.accounts.sign_up_user() for _ in range(8)]

    with Receiver() as receiver:
        secret = _add_webhook(database, server, company, receiver.url)
        promo_id = company.create_promo(max_count=_LIMIT, activation_events=True)
        activate_during_kills(server, users, promo_id, (100, 250, 400))
        for count in (50, 150):
            receiver.wait_for(count)
            server.kill_workers()
        assert wait_until(server.responds, _TIMEOUT_S)
        assert company.get(f"/business/promo/{promo_id}").json()["used_count"] == _LIMIT
        # The creation and the last use are events too.
        assert wait_until(lambda: len(_feed(company)) == _LIMIT + 2, _TIMEOUT_S)
        events = {event["id"]: event for event in _feed(company)}
        _end_leases(database)
        assert wait_until(lambda: {*receiver.event_ids} == {*events}, _TIMEOUT_S)
        for request in receiver.requests:
            assert Webhook(secret).verify(request.body, request.headers) == events[request.headers["webhook-id"]]
    used = [event["data"]["used_count"] for event in events.values() if event["type"] == "promo.activated"]
    assert sorted(used) == [*range(1, _LIMIT + 1)]
    assert max(Counter(receiver.event_ids).values()) <= 5


def test_stop_and_start(delivering_server: Server, database: Database) -> None:
    """What is pending when the server stops is delivered after its start."""
    server = delivering_server
    company = server.accounts.sign_up_company()
    with Receiver() as receiver:
        _add_webhook(database, server, company, receiver.url)
        company.create_promo()
        receiver.wait_for(1)
        assert server.end() == 0
        with database.autocommit() as connection:
            statement = text("INSERT INTO events (company_id, type) VALUES (:company, 'promo.changed')")
            connection.execute(statement, {"company": company.id})
        server.start()
        receiver.wait_for(2)
        assert {request.event["type"] for request in receiver.requests} == {"promo.created", "promo.changed"}
