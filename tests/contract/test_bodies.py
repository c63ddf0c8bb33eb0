"""Bodies: JSON in UTF-8, within the limits of the schema, parsed once."""

from pathlib import Path

import pytest
from starlette.types import ASGIApp

from promo_api.contract.bodies import _EXTRA_BYTES, _MEMORY_BYTES, _SENDER_BYTES, BodyMemory, MemoryShare
from promo_api.contract.input_limits import max_bytes
from promo_api.errors import Overloaded
from tests.cases import all_cases
from tests.contract.asgi import JSON, Header, Response, call
from tests.contract.sample_api import contract, json_body, operation, serve

BODY = b'{"a":1}'
A = {"type": "object", "additionalProperties": False, "required": ["a"], "properties": {"a": {"type": "integer"}}}
LIMIT = int(max_bytes(A)) + _EXTRA_BYTES


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> ASGIApp:
    """An application that returns its body: /any accepts any, /must requires `a`, /may accepts none."""
    paths = {
        "/must": {"post": operation(requestBody=json_body(A))},
        "/may": {"post": operation("echo.show_too", requestBody=json_body(A, required=False))},
    }
    return serve(tmp_path_factory.mktemp("bodies") / "api.yml", contract(paths))


def _post(app: ASGIApp, body: bytes, *headers: Header) -> Response:
    return call(app, "POST", "/api/must", headers=headers or (JSON,), body=body)


def test_body_arrives(app: ASGIApp) -> None:
    """The handler gets a valid body."""
    response = _post(app, BODY)
    assert response.status == 200
    assert response.json()["arguments"] == {"body": {"a": 1}}


@all_cases(
    "media_type",
    [
        "application/json",
        "Application/JSON",
        "application/json;",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json; charset=utf8",
        "application/json; charset=US-ASCII",
        "application/json\t;\tcharset=utf-8",
        "application/json; profile=x",
        "application/json" + ";" * 60_000,
    ],
)
def test_json_in_utf8(app: ASGIApp, media_type: str) -> None:
    """The media type JSON is recognised in any case and with parameters."""
    assert _post(app, BODY, ("content-type", media_type)).status == 200
    assert _post(app, b'{"a":"x"}', ("content-type", media_type)).status == 400


@pytest.mark.parametrize("body", [BODY, b'{"a":"x"}', b"no JSON"])
def test_body_without_a_content_type_is_json(app: ASGIApp, body: bytes) -> None:
    """A body without a Content-Type is validated as JSON."""
    assert call(app, "POST", "/api/must", body=body).status == (200 if body == BODY else 400)


@all_cases(
    "media_type",
    [
        "",
        "text/plain",
        "text/json",
        "application/xml",
        "application/problem+json",
        "application/jsonx",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json, text/plain",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/json; charset=nosuch",
        "application/json; charset",
        "application/json; charset=",
        'application/json; charset="utf-8',
        "application/json; charset*=utf-8''utf-8; charset*0=u; charset*1=16",
        "\xe9",
    ],
)
def test_other_media_types(app: ASGIApp, media_type: str) -> None:
    """A body of another media type is 415."""
    response = _post(app, BODY, ("content-type", media_type))
    assert response.status == 415
    what = "charset" if media_type.startswith("application/json;") else "Content-Type"
    assert what in response.json()["message"]


@pytest.mark.parametrize("second", ["application/json", "text/plain"])
def test_two_content_types(app: ASGIApp, second: str) -> None:
    """Two Content-Type headers are refused, because a proxy may have read either of them."""
    assert _post(app, BODY, JSON, ("content-type", second)).status == 415


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "nosuch"])
def test_content_encoding(app: ASGIApp, encoding: str) -> None:
    """A compressed body is refused."""
    for headers in ([JSON], []):
        response = _post(app, BODY, *headers, ("content-encoding", encoding))
        assert response.status == 415
        assert "Content-Encoding" in response.json()["message"]


@pytest.mark.parametrize("encoding", ["identity", "Identity"])
def test_identity_encoding(app: ASGIApp, encoding: str) -> None:
    """`identity` means no encoding."""
    assert _post(app, BODY, JSON, ("content-encoding", encoding)).status == 200


def test_two_content_encodings(app: ASGIApp) -> None:
    """Two Content-Encoding headers count like one with both values."""
    response = _post(app, BODY, JSON, ("content-encoding", "identity"), ("content-encoding", "gzip"))
    assert response.status == 415


@all_cases(
    "headers",
    [[], [JSON], [("content-type", "text/plain")], [("content-type", "nonsense")], [("content-encoding", "gzip")]],
)
@all_cases("body", [None, b""])
def test_missing_body(app: ASGIApp, headers: list[Header], body: bytes | None) -> None:
    """A missing required body is 400, regardless of its Content-Type."""
    response = call(app, "POST", "/api/must", headers=headers, body=body)
    assert response.status == 400
    assert response.details() == [{"in": "body", "pointer": "", "message": "is required"}]


@pytest.mark.parametrize("headers", [[], [JSON], [("content-type", "text/plain")]])
def test_optional_body(app: ASGIApp, headers: list[Header]) -> None:
    """An optional body may be left out, and is validated if it is sent."""
    response = call(app, "POST", "/api/may", headers=headers)
    assert (response.status, response.json()["arguments"]) == (200, {})
    assert call(app, "POST", "/api/may", headers=[JSON], body=b"{}").status == 400


@all_cases(
    "body",
    [
        b" ",
        b"\n\n",
        b"nonsense",
        b"{",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":1}}',
        b'{"a":1} {"a":1}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"a":"\n"}',
        b'{"a":"\xff"}',
        b'{"a":"\xc0\x80"}',
        b'{"a":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf" + BODY,
        BODY.decode().encode("utf-16"),
        b"// no comment\n" + BODY,
    ],
)
def test_malformed_json(app: ASGIApp, body: bytes) -> None:
    """Malformed JSON and invalid UTF-8 are 400 with the position of the error."""
    response = _post(app, body)
    assert (response.status, response.raised) == (400, None)
    assert response.json()["code"] == "invalid_json"
    (violation,) = response.details()
    assert (violation["in"], violation["pointer"]) == ("body", "")
    assert "(line 1, column " in violation["message"]


@pytest.mark.parametrize(
    "body", [b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'{"a":"x","a":1}', b'{"a":1,"b":{"a":1,"a":2}}']
)
def test_repeated_member(app: ASGIApp, body: bytes) -> None:
    """A member that is given twice is 400, even if its last value is valid."""
    response = _post(app, body)
    assert (response.status, response.json()["code"]) == (400, "invalid_json")
    assert [each["message"] for each in response.details()] == ["must be given once"]


def test_number_outside_the_range_of_a_double(app: ASGIApp) -> None:
    """A number that is too large is an invalid value, not malformed JSON."""
    response = _post(app, b'{"a":1e999}')
    assert (response.status, response.json()["code"]) == (400, "invalid_request")


@all_cases(
    "value",
    [
        "null",
        "[]",
        "1",
        '"text"',
        "true",
        '{"a":null}',
        '{"a":1.0}',
        '{"a":1e2}',
        '{"a":"1"}',
        '{"a":1,"b":2}',
        '{"A":1}',
    ],
)
def test_json_that_does_not_match_the_schema(app: ASGIApp, value: str) -> None:
    """JSON that does not match the schema is 400 with details."""
    response = _post(app, value.encode())
    assert response.status == 400
    assert response.details()


@pytest.mark.parametrize("digits", [19, 20, 30, 300])
def test_large_integers(app: ASGIApp, digits: int) -> None:
    """An integer of any length is accepted or 400, never 500."""
    response = _post(app, b'{"a":' + b"9" * digits + b"}")
    assert (response.status == 200) == (digits == 19)
    assert response.status in (200, 400)


@pytest.mark.parametrize("body", [b"[" * 2000, b"[" * 2000 + b"]" * 2000, b"[" + b"[]," * 1200 + b"1]"])
def test_too_many_arrays_are_not_parsed(app: ASGIApp, body: bytes) -> None:
    """A body with more arrays than a valid body can have is 400, whether or not it is JSON."""
    response = _post(app, body)
    assert (response.status, response.raised) == (400, None)
    assert [each["message"] for each in response.details()] == [
        "has too many arrays, objects and members; at most 1002 of the characters [ { : are allowed"
    ]


@pytest.mark.parametrize("depth", [200, 300, 700])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deeply_nested_json(app: ASGIApp, depth: int, opening: bytes, closing: bytes) -> None:
    """Deeply nested JSON is 400."""
    response = _post(app, opening * depth + b"1" + closing * depth)
    assert (response.status, response.raised) == (400, None)


def test_body_size_limit(app: ASGIApp) -> None:
    """A body of exactly the limit is read; one byte more is 413 before anything is read."""
    assert _post(app, BODY + b" " * (LIMIT - len(BODY))).status == 200
    response = call(app, "POST", "/api/must", headers=[JSON, ("content-length", str(LIMIT + 1))], chunks=[BODY])
    assert response.status == 413
    assert response.json()["status"] == "error"


def test_size_limit_follows_from_the_schema(service: ASGIApp) -> None:
    """The size limit of a body follows from its schema."""
    headers = [JSON, ("content-length", "200000")]
    assert call(service, "POST", "/api/user/auth/sign-in", headers=headers, chunks=[b"{}"]).status == 413


def test_largest_valid_body_fits(tmp_path: Path) -> None:
    """The longest valid texts, with each character as two escapes, are within the limit."""
    text = {"type": "string", "maxLength": 300}
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"t": {"type": "array", "maxItems": 9, "items": text}},
    }
    app = serve(tmp_path / "api.yml", contract({"/x": {"post": operation(requestBody=json_body(schema))}}))
    body = b'{\n  "t": [\n    ' + b",\n    ".join([b'"' + rb"\ud83d\ude00" * 300 + b'"'] * 9) + b"\n  ]\n}"
    assert call(app, "POST", "/api/x", headers=[JSON], body=body).status == 200


def test_bodies_share_a_memory_limit() -> None:
    """The bytes of a sender and of all senders are bounded, and freed bytes can be used again."""
    memory = BodyMemory()
    with MemoryShare(memory, "greedy") as greedy:
        greedy.grow(_SENDER_BYTES)
        with pytest.raises(Overloaded):
            greedy.grow(1)
        others = [MemoryShare(memory, number) for number in range(_MEMORY_BYTES // _SENDER_BYTES - 1)]
        for other in others:
            other.grow(_SENDER_BYTES)
        with pytest.raises(Overloaded):
            MemoryShare(memory, "late").grow(1)
    with MemoryShare(memory, "late") as late:
        late.grow(_SENDER_BYTES)
    for other in others:
        other.__exit__()
    assert (memory._total, memory._by_sender) == (0, {})


@pytest.mark.parametrize("length", ["9" * 19, "9" * 26, "9" * 5000, "0" * 30, "-1", "x", "", "1.5", "²"])
def test_wrong_content_lengths(app: ASGIApp, length: str) -> None:
    """A malformed or wrong Content-Length is no 500."""
    response = call(app, "POST", "/api/must", headers=[JSON, ("content-length", length)], chunks=[BODY])
    assert response.status == (413 if length.startswith("9") else 200)


def test_chunked_body(app: ASGIApp) -> None:
    """A chunked body is read like a body with a length."""
    response = call(app, "POST", "/api/must", headers=[JSON], chunks=[b"", BODY[:3], b"", BODY[3:], b""])
    assert response.json()["arguments"] == {"body": {"a": 1}}


def test_chunked_body_has_the_same_limit(app: ASGIApp) -> None:
    """A chunked body above the limit is 413."""
    parts = [b" " * (LIMIT // 2)] * 2
    assert call(app, "POST", "/api/must", headers=[JSON], chunks=[BODY, *parts]).status == 413
    assert call(app, "POST", "/api/must", headers=[JSON], chunks=[BODY, *parts[1:]]).status == 200


def test_client_disconnects_before_the_end_of_its_body(app: ASGIApp) -> None:
    """A client that disconnects before its body is complete gets no response, and no error is logged."""
    response = call(app, "POST", "/api/must", headers=[JSON], chunks=[BODY], disconnects=True)
    assert (response.status, response.raised) == (0, None)


def test_undeclared_body_is_ignored(service: ASGIApp) -> None:
    """The body of a request to an operation without one is ignored."""
    assert call(service, "GET", "/api/ping", headers=[("content-type", "text/plain")], body=b"\xff" * 10).status == 200


@pytest.mark.parametrize("field", ["email", "password"])
def test_errors_do_not_repeat_input(service: ASGIApp, field: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the response to an invalid body nor the log contains its values."""
    secret = "hunter-Secret"
    sent = b'{"email":"%s","password":"%s"}' % (
        (secret.encode(), b"x") if field == "email" else (b"x", secret.encode())
    )
    response = call(service, "POST", "/api/business/auth/sign-up", headers=[JSON], body=sent)
    assert response.status == 400
    assert f"/{field}" in [detail["pointer"] for detail in response.details()]
    assert secret not in response.content.decode() + caplog.text


@pytest.mark.parametrize("text", ["a@" + "a-" * 1200, "aA0$" * 600, "a" * 2400], ids=["email", "password", "a"])
def test_patterns_are_fast_on_long_texts(service: ASGIApp, text: str) -> None:
    """No pattern of api.yml is slow on a text of the size of a whole body."""
    sent = f'{{"email":"{text}","password":"{text}"}}'
    response = call(service, "POST", "/api/business/auth/sign-up", headers=[JSON], body=sent.encode())
    assert response.status == 400


def test_handler_gets_path_query_and_body(tmp_path: Path) -> None:
    """A handler gets path, query and body by name."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    parameters = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "q", "in": "query", "schema": {"type": "integer", "default": 4}},
    ]
    paths = {"/x/{id}": {"put": operation(parameters=parameters, requestBody=json_body(schema))}}
    app = serve(tmp_path / "api.yml", contract(paths))
    response = call(app, "PUT", "/api/x/%D1%8F%20b", headers=[JSON], body=b'{"n":2}')
    assert response.json()["arguments"] == {"id": "я b", "q": 4, "body": {"n": 2}}
