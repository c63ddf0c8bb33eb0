"""The operations that API keys open: every operation of api.yml with every scope, and with keys that open nothing."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from persistence.accounts.companies import close_company
from promo_api.runtime import Runtime
from promo_api.specification import KEY_SCOPES
from tests.accounts import Api, promo_body
from tests.cases import all_cases
from tests.conftest import Clock
from tests.key_matrix import (
    CLOSED,
    KINDS,
    OPERATIONS_FOR_KEYS,
    assert_matrix,
    create_credentials,
    create_key,
    key_header,
)
from tests.operations import OPERATIONS, Operation

Credentials = dict[str, dict[str, str]]


@pytest.fixture
def credentials(api: Api, runtime: Runtime, clock: Clock) -> Credentials:
    """The headers of credentials, by kind."""
    company, closed = api.sign_up_company(), api.sign_up_company()
    now = datetime.now(UTC)
    clock.stopped_at = now - timedelta(hours=1)
    expired = create_key(company, expires_at=(now - timedelta(minutes=1)).isoformat())["key"]
    clock.stopped_at = None
    orphan = create_key(closed)["key"]
    with runtime.database.autocommit() as connection:
        assert close_company(connection, UUID(closed.id))
    return create_credentials(company) | {
        "expired key": key_header(expired),
        "unknown key": key_header(runtime.api_keys.generate().text),
        CLOSED: key_header(orphan),
    }


@all_cases("operation", OPERATIONS)
@all_cases("kind", KINDS)
def test_every_operation_with_every_scope(api: Api, credentials: Credentials, operation: Operation, kind: str) -> None:
    """A key opens the operations of its scope and no others, before the request is validated."""
    assert_matrix(api, operation, kind, credentials[kind])


def test_scopes_are_declared() -> None:
    """Keys open all operations of companies but those of accounts, keys and changes of webhooks, which need a token."""
    without = {each.id.partition(".")[0] for each in OPERATIONS if each.account == "company" and not each.key_scope}
    assert without <= {"business_auth", "business_keys", "business_profile", "business_webhooks"}
    assert {each.account for each in OPERATIONS_FOR_KEYS} == {"company"}
    assert {each.key_scope for each in OPERATIONS_FOR_KEYS} == {*KEY_SCOPES}


@all_cases("operation", OPERATIONS_FOR_KEYS)
def test_reading_and_writing(operation: Operation) -> None:
    """The scope `read` opens each GET, and nothing else."""
    assert (operation.key_scope == "read") == (operation.method == "GET")


def test_refused_request_changes_nothing(api: Api) -> None:
    """A request without the scope has no effect, and stores no response under its idempotency key."""
    company = api.sign_up_company()
    reader, writer = (create_key(company, scopes=[scope])["key"] for scope in ("read", "write"))
    sent = {"json": promo_body(), "headers": {"Idempotency-Key": uuid4().hex}}
    for key, status in ((reader, 403), (writer, 201)):
        headers = {**sent["headers"], "X-Api-Key": key}
        response = api.call("POST", "/business/promo", json=sent["json"], headers=headers)
        assert (response.status_code, "idempotent-replayed" in response.headers) == (status, False)
    assert len(company.get("/business/promo").json()) == 1
