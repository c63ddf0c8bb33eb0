"""Bodies: missing, of another type, too large, broken. The same for each operation that takes one."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import PASSWORD, Account, Api, user_body
from tests.cases import all_cases
from tests.specification import specification

# Method and path of each operation that takes a body.
TAKING: list[tuple[str, str]] = [
    (method.upper(), path)
    for path, methods in specification()["paths"].items()
    for method, operation in methods.items()
    if "requestBody" in operation
]
SIGN_IN = "/user/auth/sign-in"
MIB = 2**20


def _ask(api: Api, method: str, template: str, **request: Any) -> Any:
    """Send a request as somebody who may ask this."""
    who: Account = api.sign_up_company() if template.startswith("/business") else api.sign_up_user()
    path = template.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))
    return api.call(method, path, token=who.token, **request)


def _credentials(api: Api) -> bytes:
    """Return a good body of a sign-in."""
    return json.dumps({"email": api.sign_up_user().body["email"], "password": PASSWORD}).encode()


def _details(answer: Any) -> list[tuple[str, str]]:
    assert answer.status_code == 400, answer.text
    return [(detail["in"], detail["pointer"]) for detail in answer.json()["details"]]


@all_cases(("method", "path"), TAKING)
@all_cases("media_type", [None, "application/json", "text/plain", "nonsense", "multipart/form-data"])
def test_missing_body(api: Api, method: str, path: str, media_type: str | None) -> None:
    """A body that is missing is 400, whatever its type is said to be."""
    headers = {"Content-Type": media_type} if media_type else {}
    assert _details(_ask(api, method, path, headers=headers)) == [("body", "")]


@all_cases(("method", "path"), TAKING)
def test_body_of_another_type(api: Api, method: str, path: str) -> None:
    """A body that is said to be something else than JSON is 415, though it is JSON."""
    answer = _ask(api, method, path, content=b"{}", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, set(answer.json())) == (415, {"status", "message"})


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
def test_types_that_are_not_json(api: Api, headers: dict[str, str]) -> None:
    """Another type, another charset and a content encoding are 415."""
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
def test_types_that_are_json(api: Api, headers: dict[str, str]) -> None:
    """JSON in UTF-8 may be said in several ways, or not be said."""
    assert api.call("POST", SIGN_IN, content=_credentials(api), headers=headers).status_code == 200


@pytest.mark.parametrize(("method", "path"), TAKING)
def test_too_large_a_body(api: Api, method: str, path: str) -> None:
    """A body of more than two MiB is 413, whatever it holds."""
    answer = _ask(api, method, path, content=b"x" * (2 * MIB + 1), headers={"Content-Type": "application/json"})
    assert (answer.status_code, set(answer.json())) == (413, {"status", "message"})


def test_too_large_a_body_of_unknown_length(api: Api) -> None:
    """A body that comes in parts is counted while it comes."""

    def parts() -> Iterator[bytes]:
        for _ in range(3):
            yield b" " * MIB

    assert api.call("POST", SIGN_IN, content=parts()).status_code == 413


def test_body_with_white_space(api: Api) -> None:
    """A body with some thousand blanks is taken."""
    assert api.call("POST", SIGN_IN, content=_credentials(api).ljust(5000)).status_code == 200


@all_cases(("method", "path"), TAKING)
@all_cases("content", [b"{", b"\xff\xfe{\x00}\x00"])
def test_broken_body(api: Api, method: str, path: str, content: bytes) -> None:
    """A body that is no JSON in UTF-8 is 400."""
    answer = _ask(api, method, path, content=content, headers={"Content-Type": "application/json"})
    assert _details(answer) == [("body", "")]


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
def test_what_is_no_json(api: Api, content: bytes) -> None:
    """JSON is what RFC 8259 says, within what a server can hold."""
    assert _details(api.call("POST", SIGN_IN, content=content)) == [("body", "")]


@pytest.mark.parametrize("depth", [10, 100, 255, 256, 500, 1000])
@pytest.mark.parametrize("member", ["email", "no_such"])
def test_deeply_nested_values(api: Api, member: str, depth: int) -> None:
    """A value is refused as 400 however deeply it is nested."""
    nested = f'{{"{member}": {"[" * depth}{"]" * depth}}}'
    answer = api.call("POST", SIGN_IN, content=nested.encode())
    assert {place for place, _ in _details(answer)} == {"body"}


@all_cases(("method", "path"), TAKING)
@all_cases("body", [[], "text", 5, True, None])
def test_body_that_is_no_object(api: Api, method: str, path: str, body: object) -> None:
    """A body is an object."""
    assert _details(_ask(api, method, path, json=body))[0] == ("body", "")


@pytest.mark.parametrize(("method", "path"), TAKING)
def test_unknown_member(api: Api, method: str, path: str) -> None:
    """A member that is not described is refused by each operation, with its name."""
    mode = {"mode": "COMMON"} if path == "/business/promo" else {}
    assert ("body", "/no_such") in _details(_ask(api, method, path, json={"no_such": 1, **mode}))


def test_unknown_member_of_a_member(api: Api) -> None:
    """Objects within a body are closed as well."""
    body = user_body()
    body["other"]["city"] = "Moscow"
    assert _details(api.call("POST", "/user/auth/sign-up", json=body)) == [("body", "/other/city")]
