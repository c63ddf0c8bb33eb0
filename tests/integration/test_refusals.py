"""What every operation refuses in the same way, and the one shape of all errors."""

from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import PASSWORD, Account, Api, company_body, new_email, promo_body, user_body
from tests.cases import all_cases
from tests.specification import specification

OPERATIONS: list[tuple[str, str, dict[str, Any]]] = [
    (method.upper(), path, operation)
    for path, methods in specification()["paths"].items()
    for method, operation in methods.items()
]
LISTS = [
    path
    for method, path, _ in OPERATIONS
    if method == "GET" and not path.endswith(("}", "export", "ping", "profile", "stat"))
]
PROMOS = [(method, path) for method, path, _ in OPERATIONS if "{id}" in path]
COMMENTS = [(method, path) for method, path, _ in OPERATIONS if "{comment_id}" in path]
# Good bodies by operationId.
BODIES: dict[str, Any] = {
    "business_auth.sign_in": {"email": "nobody@example.com", "password": PASSWORD},
    "user_auth.sign_in": {"email": "nobody@example.com", "password": PASSWORD},
    "business_promos.create_promo": promo_body(),
    "business_promos.update_promo": {"max_count": 5},
    "user_profile.update_profile": {"name": "Bob"},
    "user_profile.delete_profile": {"password": PASSWORD},
    "user_comments.create_comment": {"text": "A comment of a user"},
    "user_comments.update_comment": {"text": "A comment of a user"},
}


def _body(operation_id: str) -> Any:
    """Return a good body of an operation."""
    made = {"business_auth.sign_up": company_body, "user_auth.sign_up": user_body}
    return made[operation_id]() if operation_id in made else BODIES[operation_id]


def _request(operation: dict[str, Any]) -> dict[str, Any]:
    return {"json": _body(operation["operationId"])} if "requestBody" in operation else {}


def _ask(api: Api, method: str, path: str, **request: Any) -> Any:
    """Send a request as somebody who may ask this."""
    who: Account = api.sign_up_company() if path.startswith("/business") else api.sign_up_user()
    return api.call(method, path, token=who.token, **request)


def _operation(method: str, path: str) -> dict[str, Any]:
    return next(operation for other, template, operation in OPERATIONS if (other, template) == (method, path))


def _details(answer: Any) -> list[tuple[str, str]]:
    assert answer.status_code == 400, answer.text
    assert all(detail["message"] for detail in answer.json()["details"])
    return [(detail["in"], detail["pointer"]) for detail in answer.json()["details"]]


def test_ping(api: Api) -> None:
    """The service says that it lives."""
    assert api.call("GET", "/ping").json() == {"status": "ok"}


@all_cases(("method", "template", "operation"), OPERATIONS)
def test_unknown_query_parameter(api: Api, method: str, template: str, operation: dict[str, Any]) -> None:
    """A query parameter that is not described is refused by each operation, with its name."""
    path = template.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))
    answer = _ask(api, method, path, params={"no_such": "1"}, **_request(operation))
    assert _details(answer) == [("query", "/no_such")]


@pytest.mark.parametrize("query", ["Limit=1", "limit[]=1", "%6Eo=1", "limit", "limit=1&no", "=1"])
def test_query_parameters_by_another_name(api: Api, query: str) -> None:
    """Names count to the letter."""
    assert _ask(api, "GET", f"/user/feed?{query}").status_code == 400


@pytest.mark.parametrize("query", ["", "&", "&&limit=1&", "%6Cimit=1", "limit=%31"])
def test_queries_that_say_the_same(api: Api, query: str) -> None:
    """Empty parts of a query are nothing, and what is percent-encoded is what it stands for."""
    assert _ask(api, "GET", f"/user/feed?{query}").status_code == 200


@all_cases("path", LISTS)
@all_cases("name", ["limit", "offset"])
@all_cases(
    "value", ["-1", "", "abc", "1.0", "1e1", "+1", "%201", "1_0", "0x1", "01", "null", "\u0661", str(2**53), "9" * 40]
)
def test_limit_and_offset_out_of_bounds(api: Api, path: str, name: str, value: str) -> None:
    """Limit and offset are integers of 0 to 2^53 - 1, in every list."""
    answer = _ask(api, "GET", path.replace("{id}", str(uuid4())) + f"?{name}={value}")
    assert _details(answer) == [("query", f"/{name}")]


@pytest.mark.parametrize("path", LISTS)
def test_one_parameter_twice(api: Api, path: str) -> None:
    """A limit that is given twice is refused, even if both are the same."""
    answer = _ask(api, "GET", path.replace("{id}", str(uuid4())) + "?limit=1&limit=1")
    assert _details(answer) == [("query", "/limit")]


@pytest.mark.parametrize("query", ["category=%", "category=ab%zz", "category=%ff%fe", "category=%c3", "%ff=1"])
def test_query_that_is_not_utf_8(api: Api, query: str) -> None:
    """A query that is not percent-encoded UTF-8 is refused."""
    assert [place for place, _ in _details(_ask(api, "GET", f"/user/feed?{query}"))] == ["query"]


@all_cases(("method", "template"), PROMOS)
@all_cases("value", ["no-id", "1", "0b6f2d9e3c1a4f578e0d2a9b7c4d1e63", "{0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63}"])
def test_promo_id_that_is_none(api: Api, method: str, template: str, value: str) -> None:
    """An id in the path is a UUID with its hyphens."""
    path = template.replace("{id}", value).replace("{comment_id}", str(uuid4()))
    assert _details(_ask(api, method, path, **_request(_operation(method, template)))) == [("path", "/id")]


@pytest.mark.parametrize(("method", "template"), COMMENTS)
def test_comment_id_that_is_none(api: Api, method: str, template: str) -> None:
    """So is the id of a comment; both are told at once."""
    path = template.replace("{id}", "no-id").replace("{comment_id}", "1")
    answer = _ask(api, method, path, **_request(_operation(method, template)))
    assert _details(answer) == [("path", "/id"), ("path", "/comment_id")]


@all_cases(("method", "template"), PROMOS)
def test_no_such_promo(api: Api, method: str, template: str) -> None:
    """Each operation on a promo answers 404 for one that there is not."""
    path = template.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))
    assert _ask(api, method, path, **_request(_operation(method, template))).status_code == 404


@pytest.mark.parametrize(("method", "template"), COMMENTS)
def test_no_such_comment(api: Api, method: str, template: str) -> None:
    """Each operation on a comment answers 404 for one that the promo has not."""
    promo_id = api.sign_up_company().create_promo()
    path = template.replace("{id}", promo_id).replace("{comment_id}", str(uuid4()))
    assert _ask(api, method, path, **_request(_operation(method, template))).status_code == 404


def test_ids_in_any_case(api: Api) -> None:
    """A UUID names the same thing in capitals."""
    promo_id = api.sign_up_company().create_promo()
    assert _ask(api, "GET", f"/user/promo/{promo_id.upper()}").json()["promo_id"] == promo_id


@pytest.mark.parametrize(
    "path",
    ["/", "/no/such", "/ping/", "//ping", "/Ping", "/business", "/user/promo/", "/user/promo//like", "/user/feed/x"],
)
def test_unknown_path(api: Api, path: str) -> None:
    """A path that is not described is 404, with no redirection, whoever asks and by whatever method."""
    for method in ("GET", "POST", "DELETE"):
        answer = api.call(method, path, follow_redirects=False)
        assert (answer.status_code, set(answer.json())) == (404, {"status", "message"})


@all_cases("template", sorted({path for _, path, _ in OPERATIONS}))
def test_other_methods(api: Api, template: str) -> None:
    """A method that a path has not is 405, before any token is asked for, with all that it has in `Allow`."""
    known = {method for method, path, _ in OPERATIONS if path == template}
    path = template.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - known:
        answer = api.call(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].replace(" ", "").split(",")) == known


def test_head(api: Api) -> None:
    """HEAD is a method like any other: not described, so refused."""
    answer = api.client.request("HEAD", "/api/ping")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_all_violations_at_once(api: Api) -> None:
    """Everything that is wrong with path, query and body is told at once, each with its place."""
    answer = _ask(api, "PATCH", "/business/promo/no-id?no_such=1", json={"max_count": -1, "description": "short"})
    places = [("path", "/id"), ("query", "/no_such"), ("body", "/max_count"), ("body", "/description")]
    assert sorted(_details(answer)) == sorted(places)


@pytest.mark.parametrize(
    ("member", "pointer"),
    [("a/b~c", "/a~1b~0c"), ("", "/"), ("\u043a\u043b\u044e\u0447", "/\u043a\u043b\u044e\u0447"), ("a b", "/a b")],
)
def test_pointers_are_escaped(api: Api, member: str, pointer: str) -> None:
    """A pointer to an odd name is escaped as RFC 6901 says."""
    answer = api.call("POST", "/user/auth/sign-up", json=user_body() | {member: 1})
    assert _details(answer) == [("body", pointer)]


def test_taken_email_and_failed_sign_in_have_no_details(api: Api) -> None:
    """An error that is about no part of the request has a message alone."""
    taken = api.call("POST", "/user/auth/sign-up", json=api.sign_up_user().body)
    failed = api.call("POST", "/user/auth/sign-in", json={"email": new_email(), "password": PASSWORD})
    assert [(answer.status_code, set(answer.json())) for answer in (taken, failed)] == [
        (409, {"status", "message"}),
        (401, {"status", "message"}),
    ]
