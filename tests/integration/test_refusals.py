"""Errors that all operations share, and the common error body."""

from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import PASSWORD, Account, Api, company_body, new_email, promo_body, user_body
from tests.cases import all_cases
from tests.operations import OPERATIONS, allowed_methods

DECLARED = [(each.method, each.path, each.declared) for each in OPERATIONS]
LISTS = [
    path
    for method, path, _ in DECLARED
    if method == "GET" and not path.endswith(("}", "export", "keys", "ping", "profile", "stat", "webhooks"))
]
PROMOS = [(method, path) for method, path, _ in DECLARED if "{id}" in path]
COMMENTS = [(method, path) for method, path, _ in DECLARED if "{comment_id}" in path]
# Valid bodies by operationId.
BODIES: dict[str, Any] = {
    "business_auth.sign_in": {"email": "nobody@example.com", "password": PASSWORD},
    "user_auth.sign_in": {"email": "nobody@example.com", "password": PASSWORD},
    "business_keys.create_key": {"name": "Shop", "scopes": ["read", "redeem"]},
    "business_auth.forgot_password": {"email": "nobody@example.com"},
    "user_auth.forgot_password": {"email": "nobody@example.com"},
    "business_auth.reset_password": {"token": "x" * 64, "password": PASSWORD},
    "user_auth.reset_password": {"token": "x" * 64, "password": PASSWORD},
    "business_profile.update_profile": {"name": "Another company"},
    "business_promos.create_promo": promo_body(),
    "business_promos.update_promo": {"max_count": 5},
    "business_codes.append_codes": ["added-code"],
    "business_codes.generate_codes": {"count": 10, "pattern": "NEW-######"},
    "business_redemptions.validate_code": {"code": "owners-code-0"},
    "business_redemptions.create_redemption": {"code": "owners-code-0"},
    "business_webhooks.create_webhook": {"url": "https://shop.example/hooks"},
    "business_webhooks.update_webhook": {"enabled": False},
    "business_webhooks.redeliver": {"since": "2025-01-16T12:30:00Z"},
    "user_profile.update_profile": {"name": "Bob"},
    "user_profile.delete_profile": {"password": PASSWORD},
    "user_comments.create_comment": {"text": "A comment of a user"},
    "user_comments.update_comment": {"text": "A comment of a user"},
    "user_comments.report_comment": {"reason": "spam"},
}


def _body(operation_id: str) -> Any:
    """Return a valid body of an operation."""
    factories = {"business_auth.sign_up": company_body, "user_auth.sign_up": user_body}
    return factories[operation_id]() if operation_id in factories else BODIES[operation_id]


def _request(operation: dict[str, Any]) -> dict[str, Any]:
    return {"json": _body(operation["operationId"])} if "requestBody" in operation else {}


def _send(api: Api, method: str, path: str, **request: Any) -> Any:
    """Send a request with the token of a new account that may send it."""
    account: Account = api.sign_up_company() if path.startswith("/business") else api.sign_up_user()
    return api.call(method, path, token=account.token, **request)


def _unknown(template: str) -> str:
    """Return a path with ids that do not exist."""
    return template.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))


def _operation(method: str, path: str) -> dict[str, Any]:
    return next(operation for other, template, operation in DECLARED if (other, template) == (method, path))


def _details(response: Any) -> list[tuple[str, str]]:
    assert response.status_code == 400, response.text
    assert all(detail["message"] for detail in response.json()["details"])
    return [(detail["in"], detail["pointer"]) for detail in response.json()["details"]]


def test_ping(api: Api) -> None:
    """The liveness check succeeds."""
    assert api.call("GET", "/ping").json() == {"status": "ok"}


@all_cases(("method", "template", "operation"), DECLARED)
def test_unknown_query_parameter(api: Api, method: str, template: str, operation: dict[str, Any]) -> None:
    """Each operation refuses a query parameter that is not declared, and names it."""
    path = template.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))
    response = _send(api, method, path, params={"no_such": "1"}, **_request(operation))
    assert _details(response) == [("query", "/no_such")]


@pytest.mark.parametrize("query", ["Limit=1", "limit[]=1", "%6Eo=1", "limit", "limit=1&no", "=1"])
def test_parameter_names_are_exact(api: Api, query: str) -> None:
    """Query parameter names must match exactly."""
    assert _send(api, "GET", f"/user/feed?{query}").status_code == 400


@pytest.mark.parametrize("query", ["", "&", "&&limit=1&", "%6Cimit=1", "limit=%31"])
def test_equivalent_queries(api: Api, query: str) -> None:
    """Empty parts of a query are ignored, and percent-encoding is decoded."""
    assert _send(api, "GET", f"/user/feed?{query}").status_code == 200


@all_cases("path", LISTS)
@all_cases("name", ["limit", "offset"])
@all_cases(
    "value", ["-1", "", "abc", "1.0", "1e1", "+1", "%201", "1_0", "0x1", "01", "null", "\u0661", str(2**53), "9" * 40]
)
def test_invalid_limit_and_offset(api: Api, path: str, name: str, value: str) -> None:
    """Limit and offset must be integers from 0 to 2^53 - 1, in every list."""
    response = _send(api, "GET", _unknown(path) + f"?{name}={value}")
    assert _details(response) == [("query", f"/{name}")]


@pytest.mark.parametrize("path", LISTS)
def test_repeated_parameter(api: Api, path: str) -> None:
    """A repeated limit is refused, even with the same value."""
    response = _send(api, "GET", _unknown(path) + "?limit=1&limit=1")
    assert _details(response) == [("query", "/limit")]


@pytest.mark.parametrize("query", ["category=%", "category=ab%zz", "category=%ff%fe", "category=%c3", "%ff=1"])
def test_query_that_is_not_utf_8(api: Api, query: str) -> None:
    """A query that is not percent-encoded UTF-8 is refused."""
    assert [location for location, _ in _details(_send(api, "GET", f"/user/feed?{query}"))] == ["query"]


@all_cases(("method", "template"), PROMOS)
@all_cases("value", ["no-id", "1", "0b6f2d9e3c1a4f578e0d2a9b7c4d1e63", "{0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63}"])
def test_invalid_promo_id(api: Api, method: str, template: str, value: str) -> None:
    """An id in the path must be a UUID with hyphens."""
    path = template.replace("{id}", value).replace("{comment_id}", str(uuid4()))
    assert _details(_send(api, method, path, **_request(_operation(method, template)))) == [("path", "/id")]


@pytest.mark.parametrize(("method", "template"), COMMENTS)
def test_invalid_comment_id(api: Api, method: str, template: str) -> None:
    """An invalid comment id is refused; both ids are reported together."""
    path = template.replace("{id}", "no-id").replace("{comment_id}", "1")
    response = _send(api, method, path, **_request(_operation(method, template)))
    assert _details(response) == [("path", "/id"), ("path", "/comment_id")]


@all_cases(("method", "template"), PROMOS)
def test_unknown_promo(api: Api, method: str, template: str) -> None:
    """Each operation on a promo responds 404 if the promo does not exist."""
    path = template.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))
    assert _send(api, method, path, **_request(_operation(method, template))).status_code == 404


@pytest.mark.parametrize(("method", "template"), COMMENTS)
def test_unknown_comment(api: Api, method: str, template: str) -> None:
    """Each operation on a comment responds 404 if the promo has no such comment."""
    company = api.sign_up_company()
    account = company if template.startswith("/business") else api.sign_up_user()
    path = template.replace("{id}", company.create_promo()).replace("{comment_id}", str(uuid4()))
    response = api.call(method, path, token=account.token, **_request(_operation(method, template)))
    assert (response.status_code, response.json()["code"]) == (404, "comment_not_found")


def test_ids_in_any_case(api: Api) -> None:
    """A UUID in capitals is the same id."""
    promo_id = api.sign_up_company().create_promo()
    assert _send(api, "GET", f"/user/promo/{promo_id.upper()}").json()["promo_id"] == promo_id


@pytest.mark.parametrize(
    "path",
    ["/no/such", "/ping/", "//ping", "/Ping", "/business", "/user/promo/", "/user/promo//like", "/user/feed/x"],
)
def test_unknown_path(api: Api, path: str) -> None:
    """An unknown path is 404 for all methods, without a redirect."""
    for method in ("GET", "POST", "DELETE"):
        response = api.call(method, path, follow_redirects=False)
        assert (response.status_code, set(response.json())) == (404, {"status", "code", "message"})


@all_cases("template", sorted({path for _, path, _ in DECLARED}))
def test_other_methods(api: Api, template: str) -> None:
    """A method that a path does not declare is 405 before any token is checked; `Allow` lists the others."""
    declared = allowed_methods(template)
    path = template.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - declared:
        response = api.call(method, path)
        assert response.status_code == 405
        assert set(response.headers["allow"].split(", ")) == declared


def test_head(api: Api) -> None:
    """HEAD of a path without GET is refused."""
    response = api.client.request("HEAD", "/api/user/auth/sign-in")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_all_violations_at_once(api: Api) -> None:
    """All errors in path, query and body are reported together, each with its location."""
    response = _send(api, "PATCH", "/business/promo/no-id?no_such=1", json={"max_count": -1, "description": "short"})
    locations = [("path", "/id"), ("query", "/no_such"), ("body", "/max_count"), ("body", "/description")]
    assert sorted(_details(response)) == sorted(locations)


@pytest.mark.parametrize("member", ["a/b~c", "", "\u043a\u043b\u044e\u0447", "a b"])
def test_unknown_member_with_an_unusual_name(api: Api, member: str) -> None:
    """The pointer to an unknown member that does not look like a name is that of its object."""
    response = api.call("POST", "/user/auth/sign-up", json=user_body() | {member: 1})
    assert _details(response) == [("body", "")]


def test_taken_email_and_failed_sign_in_have_no_details(api: Api) -> None:
    """An error that concerns no part of the request has only a message."""
    taken = api.call("POST", "/user/auth/sign-up", json=api.sign_up_user().body)
    failed = api.call("POST", "/user/auth/sign-in", json={"email": new_email(), "password": PASSWORD})
    assert [(response.status_code, set(response.json())) for response in (taken, failed)] == [
        (409, {"status", "code", "message"}),
        (401, {"status", "code", "message"}),
    ]
