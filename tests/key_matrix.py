"""The operations that each kind of credentials opens, by api.yml."""

from typing import Any
from uuid import uuid4

from promo_api.specification import KEY_SCOPES
from tests.accounts import Account, Api
from tests.operations import OPERATIONS, Operation

ALL_SCOPES, TOKEN, NOTHING, CLOSED = "all scopes", "token", "nothing", "key of a closed company"
# The codes of keys that open nothing.
_UNUSABLE = {
    "expired key": "key_expired",
    "revoked key": "key_revoked",
    "wrong checksum": "key_invalid",
    "unknown key": "key_invalid",
    CLOSED: "account_deleted",
}
KINDS = (*KEY_SCOPES, ALL_SCOPES, TOKEN, NOTHING, *_UNUSABLE)
OPERATIONS_FOR_KEYS = [each for each in OPERATIONS if each.key_scope]
# It would revoke the token of the other cases.
_SIGN_OUT = "business_auth.sign_out"
_FORBIDDEN, _UNAUTHORIZED = 403, 401


def create_key(company: Account, **values: Any) -> dict[str, Any]:
    """Create a key with all scopes, and return the response."""
    response = company.post("/business/keys", json={"name": "Shop", "scopes": [*KEY_SCOPES], **values})
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def key_header(key: str) -> dict[str, str]:
    """Return the header of an API key."""
    return {"X-Api-Key": key}


def create_credentials(company: Account) -> dict[str, dict[str, str]]:
    """Return the headers of one company's credentials by kind, except for keys that need an access to the server."""
    revoked, whole = create_key(company), create_key(company)["key"]
    assert company.delete(f"/business/keys/{revoked['id']}").status_code == 200
    wrong = whole[:-1] + ("0" if whole[-1] != "0" else "1")
    scopes = {scope: key_header(create_key(company, scopes=[scope])["key"]) for scope in KEY_SCOPES}
    return scopes | {
        ALL_SCOPES: key_header(whole),
        TOKEN: {"Authorization": f"Bearer {company.token}"},
        NOTHING: {},
        "revoked key": key_header(revoked["key"]),
        "wrong checksum": key_header(wrong),
    }


def assert_matrix(api: Api, operation: Operation, kind: str, headers: dict[str, str]) -> None:
    """Assert that an operation accepts or refuses credentials as api.yml declares, before it validates the request."""
    expected = _expected_code(operation, kind)
    valid = operation.path.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))
    paths = [f"{valid}?no_such=1"] if operation.id == _SIGN_OUT else [valid, f"{valid}?no_such=1"]
    for path in paths:
        response = api.call(operation.method, path, headers=headers)
        if expected:
            status = _FORBIDDEN if expected == "scope_missing" else _UNAUTHORIZED
            assert (response.status_code, response.json()["code"]) == (status, expected)
        else:
            assert response.status_code not in (_UNAUTHORIZED, _FORBIDDEN), response.text
        if operation.method == "GET":
            assert api.call("HEAD", path, headers=headers).status_code == response.status_code


def _expected_code(operation: Operation, kind: str) -> str:
    """Return the code with which an operation refuses credentials; "" if it accepts or ignores them."""
    if not operation.account:
        return ""
    if kind == TOKEN:
        return "" if operation.account == "company" else "token_wrong_kind"
    if kind == NOTHING or not operation.key_scope:
        return "token_missing"
    if kind in _UNUSABLE:
        return _UNUSABLE[kind]
    return "" if kind in (ALL_SCOPES, operation.key_scope) else "scope_missing"
