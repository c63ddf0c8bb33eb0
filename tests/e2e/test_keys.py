"""API keys on several server processes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from promo_api.dev.processes import wait_until
from promo_api.security.api_keys import ApiKeys
from tests.accounts import Api
from tests.cases import all_cases
from tests.e2e.server import Server
from tests.key_matrix import CLOSED, KINDS, assert_matrix, create_credentials, create_key, key_header
from tests.operations import OPERATIONS, Operation

_PATH = "/business/promo"
# A company is closed by a command, which deletes its keys.
_KINDS = [kind for kind in KINDS if kind != CLOSED]
_CLIENTS = 4
Credentials = dict[str, dict[str, str]]


@pytest.fixture
def credentials(server: Server) -> Credentials:
    """The headers of credentials, by kind."""
    company = server.accounts.sign_up_company()
    expires_at = datetime.now(UTC) + timedelta(seconds=1)
    expired = create_key(company, expires_at=expires_at.isoformat())["key"]
    credentials = create_credentials(company) | {
        "expired key": key_header(expired),
        "unknown key": key_header(ApiKeys().generate().text),
    }
    assert wait_until(lambda: _code(server.accounts, expired) == "key_expired", 10)
    return credentials


@all_cases("operation", OPERATIONS)
@all_cases("kind", _KINDS)
def test_every_operation_with_every_scope(
    server: Server, credentials: Credentials, operation: Operation, kind: str
) -> None:
    """A key opens the operations of its scope and no others, on a server."""
    assert_matrix(server.accounts, operation, kind, credentials[kind])


def _code(api: Api, key: str) -> str:
    """Return the code of the error of a request with a key; "" if it succeeds."""
    response = api.call("GET", _PATH, headers=key_header(key))
    return "" if response.status_code == 200 else str(response.json()["code"])


def _codes(api: Api, key: str) -> set[str]:
    """Return the codes of many requests, which several workers accept."""
    return {_code(api, key) for _ in range(20)}


def test_revoked_key_on_all_workers(server: Server) -> None:
    """An API key opens all workers until it is revoked through one of them; then all refuse it."""
    company = server.accounts.sign_up_company()
    key = create_key(company)
    assert _codes(server.accounts, key["key"]) == {""}
    assert company.delete(f"/business/keys/{key['id']}").status_code == 200
    assert _codes(server.accounts, key["key"]) == {"key_revoked"}


@pytest.mark.parametrize("swapped", [False, True])
def test_revoked_key_on_another_server(server: Server, own_server: Server, swapped: bool) -> None:
    """After a revocation through one server, no request to another succeeds, even with clients that never pause."""
    one, other = (own_server, server) if swapped else (server, own_server)
    company = one.accounts.sign_up_company()
    key = create_key(company)
    is_revoked, used = Event(), [Event() for _ in range(_CLIENTS)]

    def use(used: Event) -> set[str]:
        while not is_revoked.is_set():
            _code(other.accounts, key["key"])
            used.set()
        return _codes(other.accounts, key["key"])

    with ThreadPoolExecutor(_CLIENTS) as threads:
        results = [threads.submit(use, each) for each in used]
        try:
            assert all(each.wait(30) for each in used)
            assert company.delete(f"/business/keys/{key['id']}").status_code == 200
        finally:
            is_revoked.set()
        assert [each.result(60) for each in results] == [{"key_revoked"}] * _CLIENTS


def test_last_use_before_a_stop(server: Server, own_server: Server) -> None:
    """A server that stops stores the last use of a key, which other servers show."""
    company = server.accounts.sign_up_company()
    key = create_key(company)["key"]
    assert "last_used_at" not in company.get("/business/keys").json()[0]
    assert _code(own_server.accounts, key) == ""
    assert own_server.end() == 0
    assert company.get("/business/keys").json()[0]["last_used_at"].endswith(":00+00:00")
