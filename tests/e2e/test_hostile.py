"""Bytes that are no request, or a strange one: refused at once with a 4xx, whatever they are, and the server lives."""

from collections.abc import Iterator

import pytest

from tests.e2e.raw import RawAnswer, request, send_broken, send_raw
from tests.e2e.server import Server
from tests.people import Account

_JSON = b"Content-Type: application/json"
_UUID = b"00000000-0000-4000-8000-000000000000"
_DEEP = 100_000
_MEGABYTE = 1_000_000

_PATHS = {
    "raw-bytes": b"/api/user/promo/\xff\xfe",
    "raw-utf-8": "/api/user/promo/кофе".encode(),
    "broken-utf-8": b"/api/user/promo/%FF%FE",
    "nul": b"/api/user/promo/%00",
    "line-feed": b"/api/user/promo/" + _UUID + b"%0A",
    "carriage-return": b"/api/user/promo/%0D%0Ax:%20y",
    "broken-escape": b"/api/user/promo/%zz",
    "lone-surrogate": b"/api/user/promo/%ED%A0%80",
    "slash-as-escape": b"/api/user%2Fprofile",
    "dots": b"/api/../api/user/profile",
    "dots-as-escape": b"/api/%2e%2e/etc/passwd",
    "slashes": b"//api//user///profile",
    "slash-at-the-end": b"/api/user/profile/",
    "backslash": b"/api\\user\\profile",
    "braces": b"/api/user/promo/{id}",
    "long": b"/api/user/promo/" + b"x" * 60_000,
    "deep": b"/api" + b"/x" * 20_000,
    "no-slash": b"api/ping",
    "only-a-query": b"?limit=1",
    "authority": b"localhost:1",
}
_QUERIES = {
    "raw-bytes": b"limit=\xff",
    "broken-utf-8": b"category=%FF",
    "nul": b"category=%00%00%00",
    "broken-escape": b"limit=%zz",
    "huge": b"limit=" + b"9" * 10_000,
    "past-64-bits": b"offset=9223372036854775808",
    "negative": b"offset=-1",
    "exponent": b"limit=1e2",
    "other-digits": "limit=\N{ARABIC-INDIC DIGIT ONE}".encode(),
    "line-feed": b"limit=1%0A",
    "twice": b"limit=1&limit=2",
    "brackets": b"limit[]=1",
    "thousands": b"&".join(b"p%d=1" % number for number in range(5000)),
    "nameless": b"=1",
    "semicolon": b"limit=1;offset=1",
}
_BODIES = {
    "broken-utf-8": b'{"text": "\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe"}',
    "utf-16": '{"text": "0123456789"}'.encode("utf-16"),
    "byte-order-mark": b'\xef\xbb\xbf{"text": "0123456789"}',
    "lone-surrogate": b'{"text": "0123456789\\ud800"}',
    "nul": b'{"text": "0123456789\\u0000"}',
    "raw-nul": b'{"text": "0123456789\x00"}',
    "nested-lists": b"[" * _DEEP,
    "nested-lists-closed": b"[" * _DEEP + b"]" * _DEEP,
    "nested-objects": b'{"text":' * _DEEP + b"1" + b"}" * _DEEP,
    "nested-a-little": b'{"text":' * 500 + b"1" + b"}" * 500,
    "huge-integer": b'{"text": ' + b"9" * _MEGABYTE + b"}",
    "huge-exponent": b'{"text": 1e999999999}',
    "not-a-number": b'{"text": NaN}',
    "infinity": b'{"text": -Infinity}',
    "number": b"1",
    "null": b"null",
    "two-values": b'{"text": "0123456789"} {}',
    "twice-the-member": b'{"text": "0123456789", "text": 1}',
    "huge-name": b'{"' + b"x" * _MEGABYTE + b'": 1}',
    "many-members": b"{" + b",".join(b'"m%d": 1' % number for number in range(50_000)) + b"}",
    "too-large": b'{"text": "' + b"x" * 3 * _MEGABYTE + b'"}',
}
_BODY = b'{"text": "0123456789"}'
_HEADERS = {
    "type-utf-16": [b"Content-Type: application/json; charset=utf-16"],
    "type-no-charset": [b"Content-Type: application/json; charset=no-such-thing"],
    "type-raw-bytes": [b"Content-Type: \xff\xfe"],
    "type-twice": [_JSON, b"Content-Type: text/plain"],
    "type-form": [b"Content-Type: multipart/form-data; boundary=x"],
    "encoding": [_JSON, b"Content-Encoding: gzip"],
    "length-twice": [_JSON, b"Content-Length: 3"],
    "length-negative": [_JSON, b"Content-Length: -1"],
    "length-and-chunked": [_JSON, b"Transfer-Encoding: chunked"],
    "unknown-transfer": [_JSON, b"Transfer-Encoding: nonsense"],
    "no-colon": [_JSON, b"this is no header"],
    "space-before-colon": [_JSON, b"X-Test : 1"],
    "nul-in-value": [_JSON, b"X-Test: a\x00b"],
    "token-twice": [_JSON, b"Authorization: Bearer x"],
}
_TOKENS = {
    "none": [],
    "empty": [b"Authorization:"],
    "scheme-alone": [b"Authorization: Bearer"],
    "raw-bytes": [b"Authorization: Bearer \xff\xfe\xfd"],
    "other-scheme": [b"Authorization: Basic dXNlcjpwYXNz"],
    "three-parts": [b"Authorization: Bearer a.b.c"],
    "no-algorithm": [b"Authorization: Bearer eyJhbGciOiJub25lIn0.e30."],
    "long": [b"Authorization: Bearer " + b"x" * 50_000],
}
_GARBAGE = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "nonsense": b"\x00\x01\x02\xff\xfe\r\n\r\n",
    "words": b"hello, is anybody there?\r\n\r\n",
    "other-version": b"GET /api/ping HTTP/9.9\r\nHost: x\r\n\r\n",
    "unknown-method": b"BREW /api/ping HTTP/1.1\r\nHost: x\r\n\r\n",
    "small-letters": b"get /api/ping HTTP/1.1\r\nHost: x\r\n\r\n",
    "undocumented-method": b"TRACE /api/ping HTTP/1.1\r\nHost: x\r\n\r\n",
    "proxy": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "old-version": b"GET /api/user/profile HTTP/1.0\r\n\r\n",
    "no-host": b"GET /api/user/profile HTTP/1.1\r\n\r\n",
    "two-hosts": b"GET /api/user/profile HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "websocket": request(b"GET", b"/api/user/profile", b"Connection: upgrade", b"Upgrade: websocket"),
    "huge-length": request(b"POST", b"/api/user/auth/sign-in", b"Content-Length: " + b"9" * 30),
    "large-length": request(b"POST", b"/api/user/auth/sign-in", _JSON, b"Content-Length: 999999999999"),
    "bad-chunk": request(b"POST", b"/api/user/auth/sign-in", _JSON, b"Transfer-Encoding: chunked", b"", b"zz"),
    "chunked": request(
        b"POST", b"/api/user/auth/sign-in", _JSON, b"Transfer-Encoding: chunked", b"", b"1\r\n{\r\n0\r\n"
    ),
}


@pytest.fixture(scope="module")
def user(server: Server) -> Account:
    """One whose token is good, so that what is refused is refused for its form."""
    return server.people.sign_up_user()


@pytest.fixture(scope="module")
def authorization(user: Account) -> bytes:
    """The header of a good token."""
    return f"Authorization: Bearer {user.token}".encode()


@pytest.fixture(scope="module")
def comments(server: Server) -> bytes:
    """A path that takes a body and needs a token."""
    return f"/api/user/promo/{server.people.sign_up_company().create_promo()}/comments".encode()


@pytest.fixture(autouse=True)
def _unharmed(server: Server) -> Iterator[None]:
    """After each test the server answers, by the same processes, and has not logged a failure."""
    workers = {worker.pid for worker in server.workers()}
    before = len(server.log)
    yield
    assert server.answers()
    assert {worker.pid for worker in server.workers()} == workers
    written = server.log[before:]
    assert "Traceback" not in written
    assert "ERROR" not in written


def _assert_refused(answer: RawAnswer, *statuses: int) -> None:
    assert 400 <= answer.status < 500, answer.content[:300]
    assert not statuses or answer.status in statuses
    assert answer.seconds < 1


@pytest.mark.parametrize("name", _PATHS)
def test_paths(server: Server, authorization: bytes, name: str) -> None:
    """A path that is not in the contract, or names no promo, is 400 or 404, however it is written."""
    _assert_refused(send_raw(server.url, request(b"GET", _PATHS[name], authorization)), 400, 404, 414)


@pytest.mark.parametrize("name", _QUERIES)
def test_queries(server: Server, authorization: bytes, name: str) -> None:
    """A query that is not in the contract is 400."""
    path = b"/api/user/feed?" + _QUERIES[name]
    _assert_refused(send_raw(server.url, request(b"GET", path, authorization)), 400)


@pytest.mark.parametrize("name", _BODIES)
def test_bodies(server: Server, authorization: bytes, comments: bytes, name: str) -> None:
    """A body that is not JSON of the contract is 400, and one that is too large is 413."""
    answer = send_raw(server.url, request(b"POST", comments, authorization, _JSON, body=_BODIES[name]))
    _assert_refused(answer, 413 if name == "too-large" else 400)
    assert answer.content.endswith(b"}")


@pytest.mark.parametrize("name", _HEADERS)
def test_headers(server: Server, authorization: bytes, comments: bytes, name: str) -> None:
    """Headers that contradict each other, or the body, have the request refused."""
    _assert_refused(send_raw(server.url, request(b"POST", comments, authorization, *_HEADERS[name], body=_BODY)))


@pytest.mark.parametrize("name", _TOKENS)
def test_tokens(server: Server, name: str) -> None:
    """Whatever stands in place of a token is 401."""
    _assert_refused(send_raw(server.url, request(b"GET", b"/api/user/profile", *_TOKENS[name])), 401)


@pytest.mark.parametrize("name", _GARBAGE)
def test_garbage(server: Server, name: str) -> None:
    """What is no HTTP, or HTTP of another kind, is refused as well."""
    _assert_refused(send_raw(server.url, _GARBAGE[name]))


def test_huge_headers(server: Server) -> None:
    """Headers without end are refused, and not kept in memory."""
    huge = [b"X-Test-%d: %s" % (number, b"x" * 10_000) for number in range(1000)]
    _assert_refused(send_raw(server.url, request(b"GET", b"/api/ping", *huge)), 400, 431)


def test_requests_without_end(server: Server, authorization: bytes) -> None:
    """A connection that breaks off in the middle of a request harms nobody."""
    whole = request(b"POST", b"/api/user/auth/sign-in", authorization, _JSON, body=_BODY)
    for length in (1, 20, 60, len(whole) - 1):
        assert send_broken(server.url, whole[:length]) == b""
