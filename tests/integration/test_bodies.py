"""Request bodies that are missing, too large, malformed or of another media type, for each operation with a body."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import PASSWORD, Account, Api, user_body
from tests.cases import all_cases
from tests.operations import OPERATIONS

# Method and path of each operation with a body.
WITH_BODY = [(each.method, each.path) for each in OPERATIONS if each.takes_body]
# Its body is an array.
CODES = "/business/promo/{id}/codes"
SIGN_IN = "/user/auth/sign-in"
MIB = 2**20


def _send(api: Api, method: str, template: str, **request: Any) -> Any:
    """Send a request with a token of the right kind of account."""
    account: Account = api.sign_up_company() if template.startswith("/business") else api.sign_up_user()
    path = template.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))
    return api.call(method, path, token=account.token, **request)


def _credentials(api: Api) -> bytes:
    """Return a valid body of a sign-in."""
    return json.dumps({"email": api.sign_up_user().body["email"], "password": PASSWORD}).encode()


def _details(response: Any) -> list[tuple[str, str]]:
    assert response.status_code == 400, response.text
    return [(detail["in"], detail["pointer"]) for detail in response.json()["details"]]


@all_cases(("method", "path"), WITH_BODY)
@all_cases("media_type", [None, "application/json", "text/plain", "nonsense", "multipart/form-data"])
def test_missing_body(api: Api, method: str, path: str, media_type: str | None) -> None:
    """A missing body is a 400, for any Content-Type."""
    headers = {"Content-Type": media_type} if media_type else {}
    assert _details(_send(api, method, path, headers=headers)) == [("body", "")]


@all_cases(("method", "path"), WITH_BODY)
def test_body_of_another_type(api: Api, method: str, path: str) -> None:
    """JSON with another Content-Type is a 415."""
    response = _send(api, method, path, content=b"{}", headers={"Content-Type": "text/plain"})
    assert (response.status_code, set(response.json())) == (415, {"status", "code", "message"})


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/xml"},
        {"Content-Type": "application/json-patch+json"},
        {"Content-Type": "application/jsonx"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": ""},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_other_media_types(api: Api, headers: dict[str, str]) -> None:
    """Another media type, another charset and a content encoding are a 415."""
    assert api.call("POST", SIGN_IN, content=_credentials(api), headers=headers).status_code == 415


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "APPLICATION/JSON"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": 'application/json;charset="UTF-8"'},
        {"Content-Type": "application/json", "Content-Encoding": "identity"},
        {},
    ],
)
def test_media_types_of_json(api: Api, headers: dict[str, str]) -> None:
    """The Content-Type of JSON in UTF-8 can be written in several ways, or be missing."""
    assert api.call("POST", SIGN_IN, content=_credentials(api), headers=headers).status_code == 200


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
def test_large_body(api: Api, method: str, path: str) -> None:
    """A body of more than two MiB is a 413."""
    response = _send(api, method, path, content=b"x" * (2 * MIB + 1), headers={"Content-Type": "application/json"})
    assert (response.status_code, set(response.json())) == (413, {"status", "code", "message"})


def test_large_body_of_unknown_length(api: Api) -> None:
    """The limit also applies to a chunked body."""

    def parts() -> Iterator[bytes]:
        for _ in range(3):
            yield b" " * MIB

    assert api.call("POST", SIGN_IN, content=parts()).status_code == 413


def test_body_with_white_space(api: Api) -> None:
    """A body with thousands of spaces is accepted."""
    assert api.call("POST", SIGN_IN, content=_credentials(api).ljust(5000)).status_code == 200


@all_cases(("method", "path"), WITH_BODY)
@all_cases("content", [b"{", b"\xff\xfe{\x00}\x00"])
def test_malformed_body(api: Api, method: str, path: str, content: bytes) -> None:
    """A body that is not JSON in UTF-8 is a 400."""
    response = _send(api, method, path, content=content, headers={"Content-Type": "application/json"})
    assert _details(response) == [("body", "")]


@all_cases(
    "content",
    [
        b" ",
        b"\x00",
        b"hello",
        b"{} {}",
        b"{'email': 'x'}",
        b'{"email": "x",}',
        b'{"email": NaN}',
        b'{"email": Infinity}',
        b'{"email": 01}',
        b'{"email": "\xe9"}',
        b'{"email": "\\ud800"}',
        b'{"email": "\x01"}',
        b'{"email": 1' + b"0" * 400 + b"}",
        b"[" * 6000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ],
)
def test_invalid_json(api: Api, content: bytes) -> None:
    """JSON that violates RFC 8259, and numbers and nesting beyond the limits, are a 400."""
    assert _details(api.call("POST", SIGN_IN, content=content)) == [("body", "")]


@pytest.mark.parametrize("depth", [10, 100, 255, 256, 500, 1000])
@pytest.mark.parametrize("member", ["email", "no_such"])
def test_deeply_nested_values(api: Api, member: str, depth: int) -> None:
    """A deeply nested value is a 400."""
    nested = f'{{"{member}": {"[" * depth}{"]" * depth}}}'
    response = api.call("POST", SIGN_IN, content=nested.encode())
    assert {location for location, _ in _details(response)} == {"body"}


@all_cases(("method", "path"), WITH_BODY)
@all_cases("body", [[], "text", 5, True, None])
def test_body_that_is_not_an_object(api: Api, method: str, path: str, body: object) -> None:
    """A body that is not an object is a 400."""
    assert _details(_send(api, method, path, json=body))[0] == ("body", "")


@pytest.mark.parametrize(("method", "path"), [each for each in WITH_BODY if each[1] != CODES])
def test_unknown_member(api: Api, method: str, path: str) -> None:
    """Each operation refuses an unknown member and names it."""
    mode = {"mode": "COMMON"} if path == "/business/promo" else {}
    assert ("body", "/no_such") in _details(_send(api, method, path, json={"no_such": 1, **mode}))


def test_unknown_nested_member(api: Api) -> None:
    """Unknown members of nested objects are refused too."""
    body = user_body()
    body["other"]["city"] = "Moscow"
    assert _details(api.call("POST", "/user/auth/sign-up", json=body)) == [("body", "/other/city")]
