"""Malformed and expensive bodies get a 4xx at once, and the server survives."""

import re
from functools import cache
from typing import Any

import pytest

from tests.e2e.raw import request
from tests.e2e.refusals import assert_refused, respond_fast
from tests.e2e.server import Server
from tests.specification import specification

pytestmark = pytest.mark.usefixtures("unharmed")

_JSON = b"Content-Type: application/json"
_UUID = "00000000-0000-4000-8000-000000000000"
_DEEP = 100_000
# Bodies with lists of codes may be larger than others.
_WITH_CODES = ("business_promos.create_promo", "business_codes.append_codes")
_MEGABYTE = 1_000_000
_COMMENT_BYTES = 20_000
_BODY = b'{"text": "0123456789"}'
_BODIES = {
    "broken-utf-8": b'{"text": "\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe"}',
    "overlong-utf-8": b'{"text": "0123456789\xc0\xaf"}',
    "overlong-utf-8-of-three": b'{"text": "0123456789\xe0\x80\xaf"}',
    "overlong-nul": b'{"text": "0123456789\xc0\x80"}',
    "past-unicode": b'{"text": "0123456789\xf4\x90\x80\x80"}',
    "cut-utf-8": b'{"text": "0123456789\xe2\x82"}',
    "raw-surrogate": b'{"text": "0123456789\xed\xa0\x80"}',
    "utf-16": '{"text": "0123456789"}'.encode("utf-16"),
    "utf-16-without-mark": '{"text": "0123456789"}'.encode("utf-16-le"),
    "utf-32": '{"text": "0123456789"}'.encode("utf-32"),
    "byte-order-mark": b'\xef\xbb\xbf{"text": "0123456789"}',
    "lone-surrogate": b'{"text": "0123456789\\ud800"}',
    "nul": b'{"text": "0123456789\\u0000"}',
    "raw-nul": b'{"text": "0123456789\x00"}',
    "nested-lists": b"[" * _DEEP,
    "nested-lists-closed": b"[" * _DEEP + b"]" * _DEEP,
    "nested-objects": b'{"text":' * _DEEP + b"1" + b"}" * _DEEP,
    "nested-a-little": b'{"text":' * 500 + b"1" + b"}" * 500,
    "nested-in-the-member": b'{"text": ' + b"[" * 900 + b"]" * 900 + b"}",
    "huge-integer": b'{"text": ' + b"9" * _MEGABYTE + b"}",
    "huge-negative": b'{"text": -' + b"9" * _MEGABYTE + b"}",
    "huge-fraction": b'{"text": 0.' + b"9" * _MEGABYTE + b"}",
    "huge-exponent": b'{"text": 1e' + b"9" * _MEGABYTE + b"}",
    "infinite-exponent": b'{"text": 1e999999999}',
    "not-a-number": b'{"text": NaN}',
    "infinity": b'{"text": -Infinity}',
    "number": b"1",
    "null": b"null",
    "two-values": b'{"text": "0123456789"} {}',
    "twice-the-member": b'{"text": "0123456789", "text": 1}',
    "huge-name": b'{"' + b"x" * _MEGABYTE + b'": 1}',
    "many-members": b"{" + b",".join(b'"m%d": 1' % number for number in range(150_000)) + b"}",
    "many-numbers": b"[" + b"1," * _MEGABYTE + b"1]",
    "many-lists": b"[" + b"[]," * 600_000 + b"1]",
    "many-objects": b"[" + b"{}," * 600_000 + b"1]",
    "many-nested-lists": b"[" + (b"[" * 500 + b"]" * 500 + b",") * 2000 + b"1]",
    "escapes": b'{"text": "' + b"\\u0041" * 300_000 + b'"}',
    "too-large": b'{"text": "' + b"x" * 3 * _MEGABYTE + b'"}',
}
# For megabytes of JSON. An idle but slow machine has taken 110 to 180 ms for 151,000 lists.
_COSTLY_WORK_S = 0.2
# By member of a promo: values that are expensive to reject.
_COSTLY = {
    "promo_unique": b"[" + b"1," * 900_000 + b"1]",
    "promo_unique-of-5001": b"[" + b"1," * 5000 + b"1]",
    "promo_unique-of-texts": b"[" + b",".join([b'"%s"' % (b"x" * 390)] * 5000) + b"]",
    "promo_unique-of-lists": b"[" + b"[]," * 151_000 + b"1]",
    "target": b"{" + b",".join(b'"m%d":1' % number for number in range(150_000)) + b"}",
    "image_url": b'"http://' + b"a." * 900_000 + b'"',
    "mode": b"[" + b"1," * 900_000 + b"1]",
}
_TYPES = {
    "utf-16": b"application/json; charset=utf-16",
    "utf-7": b"application/json; charset=utf-7",
    "no-charset": b"application/json; charset=no-such-thing",
    "open-quote": b'application/json; charset="utf-8',
    "charset-in-parts": b"application/json; charset*=utf-8''utf-8; charset*0=u; charset*1=16",
    "charset-in-3000-parts": b"application/json" + b"".join(b"; charset*%d=u" % number for number in range(3000)),
    "raw-bytes": b"\xff\xfe",
    "empty": b"",
    "slash": b"/",
    "two-in-one": b"application/json, text/plain",
    "encoded-word": b"=?utf-8?q?application/json?=",
    "form": b"multipart/form-data; boundary=x",
}
# Valid, but possibly slow to parse.
_ODD_TYPES = {
    "semicolons": b"application/json" + b";" * 60_000,
    "parameters": b"application/json" + b"; a=b" * 10_000,
    "quotes": b"application/json; a=" + b'"' * 60_000,
    "backslashes": b'application/json; a="' + b'\\"' * 30_000 + b'"',
    "spaces": b"application/json;" + b" " * 60_000 + b"charset=utf-8",
}


@cache
def _operations_with_a_body() -> dict[str, tuple[str, str]]:
    """Return the method and the path of each operation that takes a body, by operationId."""
    document: Any = specification()
    return {
        operation["operationId"]: (method.upper(), "/api" + re.sub(r"\{.*?\}", _UUID, path))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
    }


@pytest.mark.parametrize("name", _BODIES)
def test_bodies(server: Server, user_header: bytes, comments: bytes, name: str) -> None:
    """A body that is not valid JSON of the contract gets 400; one larger than any comment gets 413."""
    message = request(b"POST", comments, user_header, _JSON, body=_BODIES[name])
    assert_refused(server, message, 413 if len(_BODIES[name]) > _COMMENT_BYTES else 400)


@pytest.mark.parametrize("name", _BODIES)
def test_bodies_of_the_largest_operation(server: Server, company_header: bytes, name: str) -> None:
    """The operation with the largest body limit refuses the same bodies as fast."""
    message = request(b"POST", b"/api/business/promo", company_header, _JSON, body=_BODIES[name])
    assert_refused(server, message, 413 if name == "too-large" else 400, work_max_s=_COSTLY_WORK_S)


@pytest.mark.parametrize("name", _COSTLY)
def test_expensive_bodies(server: Server, company_header: bytes, name: str) -> None:
    """Large invalid members are refused fast where large valid ones are allowed."""
    member = name.partition("-")[0].encode()
    mode = b"" if name == "mode" else b'"mode": "%s", ' % (b"UNIQUE" if b"unique" in member else b"COMMON")
    body = b'{%s"%s": %s}' % (mode, member, _COSTLY[name])
    message = request(b"POST", b"/api/business/promo", company_header, _JSON, body=body)
    assert_refused(server, message, 400, work_max_s=_COSTLY_WORK_S)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"name":', b"}")], ids=["lists", "objects"])
@pytest.mark.parametrize("operation_id", _operations_with_a_body())
def test_nesting(
    server: Server, company_header: bytes, user_header: bytes, operation_id: str, opening: bytes, closing: bytes
) -> None:
    """Every operation refuses bodies with 100,000 nested levels."""
    method, path = _operations_with_a_body()[operation_id]
    header = company_header if path.startswith("/api/business/") else user_header
    body = opening * _DEEP + b"1" + closing * _DEEP
    status = 400 if operation_id in _WITH_CODES else 413
    assert_refused(server, request(method.encode(), path.encode(), header, _JSON, body=body), status)


@pytest.mark.parametrize("name", [b"text", rb"te\u0078t"])
def test_duplicate_member(server: Server, user_header: bytes, comments: bytes, name: bytes) -> None:
    """Duplicate members are ambiguous, even if they are equal and however their name is written."""
    body = b'{"text": "the first text", "%b": "the first text"}' % name
    assert_refused(server, request(b"POST", comments, user_header, _JSON, body=body), 400)


@pytest.mark.parametrize("name", _TYPES)
def test_content_types(server: Server, user_header: bytes, comments: bytes, name: str) -> None:
    """A content type other than JSON in UTF-8 gets 415."""
    assert_refused(server, request(b"POST", comments, user_header, b"Content-Type: " + _TYPES[name], body=_BODY), 415)


@pytest.mark.parametrize("headers", [[_JSON, _JSON], [_JSON, b"Content-Type: text/plain"]], ids=["same", "other"])
def test_duplicate_content_type(server: Server, user_header: bytes, comments: bytes, headers: list[bytes]) -> None:
    """Two content types are ambiguous."""
    assert_refused(server, request(b"POST", comments, user_header, *headers, body=_BODY), 415)


@pytest.mark.parametrize("encoding", [b"gzip", b"br, identity", b"identity\r\nContent-Encoding: gzip"])
def test_content_encodings(server: Server, user_header: bytes, comments: bytes, encoding: bytes) -> None:
    """Content encodings are not supported."""
    header = b"Content-Encoding: " + encoding
    assert_refused(server, request(b"POST", comments, user_header, _JSON, header, body=_BODY), 415)


@pytest.mark.parametrize("name", _ODD_TYPES)
def test_unusual_content_types(server: Server, user_header: bytes, comments: bytes, name: str) -> None:
    """Unknown parameters of the content type are ignored, and parsed fast."""
    header = b"Content-Type: " + _ODD_TYPES[name]
    assert respond_fast(server, request(b"POST", comments, user_header, header, body=_BODY)).status == 201
