"""What API keys open: every operation of api.yml with every scope, and with a token."""

from uuid import uuid4

import pytest

from promo_api.specification import KEY_SCOPES
from tests.accounts import Account, Api, promo_body
from tests.cases import all_cases
from tests.integration.test_keys import create_key
from tests.operations import OPERATIONS, Operation

_KINDS = (*KEY_SCOPES, "all scopes", "token")
_FOR_KEYS = [each for each in OPERATIONS if each.key_scope]


@pytest.fixture(scope="module")
def credentials() -> dict[str, dict[str, str]]:
    """The headers of requests by scope of their key, or of the token, filled by `_headers`."""
    return {}


def _headers(api: Api, stored: dict[str, dict[str, str]], kind: str) -> dict[str, str]:
    """Return the header of one company's credentials; 20 keys would not suffice for all cases."""
    if not stored:
        company = api.sign_up_company()
        stored["token"] = {"Authorization": f"Bearer {company.token}"}
        for name in KEY_SCOPES:
            stored[name] = {"X-Api-Key": create_key(company, scopes=[name])["key"]}
        stored["all scopes"] = {"X-Api-Key": create_key(company, scopes=[*KEY_SCOPES])["key"]}
    return stored[kind]


def _expected(operation: Operation, kind: str) -> str:
    """Return the code with which an operation refuses credentials; "" if it accepts or ignores them."""
    if not operation.account:
        return ""
    if kind == "token":
        return "" if operation.account == "company" else "token_wrong_kind"
    if not operation.key_scope:
        return "token_missing"
    return "" if kind in ("all scopes", operation.key_scope) else "scope_missing"


@all_cases("operation", OPERATIONS)
@all_cases("kind", _KINDS)
def test_every_operation_with_every_scope(
    api: Api, credentials: dict[str, dict[str, str]], operation: Operation, kind: str
) -> None:
    """A key opens the operations of its scope and no others, before the request is validated."""
    expected = _expected(operation, kind)
    headers = _headers(api, credentials, kind)
    valid = operation.path.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))
    # The last would revoke the token.
    paths = [valid, f"{valid}?no_such=1"] if operation.id != "business_auth.sign_out" else [f"{valid}?no_such=1"]
    for path in paths:
        response = api.call(operation.method, path, headers=headers)
        if expected:
            status = 403 if expected == "scope_missing" else 401
            assert (response.status_code, response.json()["code"]) == (status, expected)
        else:
            assert response.status_code not in (401, 403), response.text


def test_scopes_are_declared() -> None:
    """Keys open all operations of companies but those of accounts and keys, which need a token."""
    without = {each.id.partition(".")[0] for each in OPERATIONS if each.account == "company" and not each.key_scope}
    assert without <= {"business_auth", "business_keys", "business_profile"}
    assert {each.account for each in _FOR_KEYS} == {"company"}
    assert {each.key_scope for each in _FOR_KEYS} <= {*KEY_SCOPES}


@all_cases("operation", _FOR_KEYS)
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


def test_keys_of_another_company(api: Api) -> None:
    """A key opens no more of another company than a token does."""
    promo_id = api.sign_up_company().create_promo()
    stranger: Account = api.sign_up_company()
    key = create_key(stranger)["key"]
    response = api.call("GET", f"/business/promo/{promo_id}", headers={"X-Api-Key": key})
    assert (response.status_code, response.json()["code"]) == (403, "not_owner")
