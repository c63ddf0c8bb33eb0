"""Malformed or ambiguous HTTP (request smuggling) gets a 4xx at once, and the server survives.

Unusual requests that RFC 9112 allows get normal responses.
"""

import pytest

from tests.e2e.raw import request, send_to_the_end
from tests.e2e.refusals import assert_refused, respond_fast
from tests.e2e.server import Server

pytestmark = pytest.mark.usefixtures("unharmed")

_HOST = b"Host: localhost"
_JSON = b"Content-Type: application/json"
_CHUNKED = b"Transfer-Encoding: chunked"
_BODY = b'{"text": "0123456789"}'
_CHUNK = b"16\r\n" + _BODY + b"\r\n"
_END = b"0\r\n\r\n"
_MEGABYTE = 1_000_000

# Complete messages.
_GARBAGE = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "nonsense": b"\x00\x01\x02\xff\xfe\r\n\r\n",
    "words": b"hello, is anybody there?\r\n\r\n",
    "byte-order-mark": b"\xef\xbb\xbf" + request(b"GET", b"/api/ping"),
    "empty-lines-without-end": b"\r\n" * _MEGABYTE,
    "letters-without-end": b"x" * _MEGABYTE,
    "target-without-end": b"GET /" + b"x" * _MEGABYTE,
    "old-version": b"GET /api/user/profile HTTP/1.0\r\n\r\n",
    "no-version": b"GET /api/ping\r\n\r\n",
    "other-version": b"GET /api/ping HTTP/9.9\r\nHost: x\r\n\r\n",
    "version-2": b"GET /api/ping HTTP/2.0\r\nHost: x\r\n\r\n",
    "version-1.2": b"GET /api/ping HTTP/1.2\r\nHost: x\r\n\r\n",
    "long-version": b"GET /api/ping HTTP/1.1111\r\nHost: x\r\n\r\n",
    "version-in-small-letters": b"GET /api/ping http/1.1\r\nHost: x\r\n\r\n",
    "no-target": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "only-line-feeds": b"GET /api/ping HTTP/1.1\nHost: x\n\n",
    "only-carriage-returns": b"GET /api/ping HTTP/1.1\rHost: x\r\r",
    "space-at-first": b" " + request(b"GET", b"/api/ping"),
    "folded-first-line": b"GET /api/ping HTTP/1.1\r\n Host: x\r\n\r\n",
    "proxy": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "old-chunks": b"POST /api/user/auth/sign-in HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNK + _END,
    "no-host": b"GET /api/ping HTTP/1.1\r\n\r\n",
    "two-hosts": b"GET /api/ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "one-host-twice": b"GET /api/ping HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "host-with-a-path": b"GET /api/ping HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host-of-words": b"GET /api/ping HTTP/1.1\r\nHost: a b\r\n\r\n",
    "host-of-raw-bytes": b"GET /api/ping HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
}
_TARGETS = {
    "fragment": b"/api/ping#x",
    "fragment-after-a-query": b"/api/ping?#x",
    "carriage-return": b"/api/pi\rng",
    "line-feed": b"/api/pi\nng",
    "tab": b"/api/pi\tng",
    "space": b"/api/pi ng",
    "nul": b"/api/pi\x00ng",
    "other-scheme": b"ftp://localhost/api/ping",
    "no-host": b"http:///api/ping",
    "no-path": b"http://localhost",
    "broken-host": b"http://[::1/api/ping",
}
# Headers of a request without a body.
_HEADERS = {
    "no-colon": b"this is no header",
    "space-before-colon": b"X-Test : 1",
    "no-name": b": 1",
    "name-of-signs": b"X(Test)@: 1",
    "name-of-raw-bytes": b"\xff\xfe: 1",
    "nul": b"X-Test: a\x00b",
    "carriage-return": b"X-Test: a\rb",
    "line-feed": b"X-Test: a\nb",
    "folded": b"X-Test: a\r\n b",
    "folded-with-a-tab": b"X-Test: a\r\n\tb",
    "huge": b"\r\n".join(b"X-Test-%d: %s" % (number, b"x" * 10_000) for number in range(1000)),
    "many": b"\r\n".join([b"a:"] * 100_000),
    "more-than-a-hundred": b"\r\n".join([b"a:"] * 100),
}
# In place of Content-Length of a body with 22 bytes.
_LENGTHS = {
    "twice": b"Content-Length: 22\r\nContent-Length: 22",
    "two": b"Content-Length: 22\r\nContent-Length: 3",
    "list": b"Content-Length: 22, 22",
    "negative": b"Content-Length: -1",
    "sign": b"Content-Length: +22",
    "space": b"Content-Length: 2 2",
    "hexadecimal": b"Content-Length: 0x16",
    "point": b"Content-Length: 22.0",
    "underscore": b"Content-Length: 2_2",
    "other-digits": "Content-Length: \N{ARABIC-INDIC DIGIT TWO}\N{ARABIC-INDIC DIGIT TWO}".encode(),
    "word": b"Content-Length: many",
    "empty": b"Content-Length:",
    "past-64-bits": b"Content-Length: 18446744073709551638",
    "huge": b"Content-Length: " + b"9" * 30,
    "large": b"Content-Length: 999999999999",
    "large-and-expecting": b"Expect: 100-continue\r\nContent-Length: 999999999999",
    "chunked-too": b"Content-Length: 22\r\nTransfer-Encoding: chunked",
    "unknown-coding": b"Transfer-Encoding: nonsense",
    "identity": b"Transfer-Encoding: identity",
    "folded-coding": b"Transfer-Encoding:\r\n chunked",
}
# In place of Transfer-Encoding: chunked.
_CODINGS = {
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "another-before": b"Transfer-Encoding: gzip, chunked",
    "another-after": b"Transfer-Encoding: chunked, identity",
    "vertical-tab": b"Transfer-Encoding: \x0bchunked",
    "space-before-colon": b"Transfer-Encoding : chunked",
}
_CHUNKS = {
    "no-number": b"zz\r\n",
    "no-size": b"\r\n" + _BODY + b"\r\n" + _END,
    "negative": b"-16\r\n" + _BODY + b"\r\n" + _END,
    "sign": b"+16\r\n" + _BODY + b"\r\n" + _END,
    "hexadecimal": b"0x16\r\n" + _BODY + b"\r\n" + _END,
    "space": b"16 \r\n" + _BODY + b"\r\n" + _END,
    "line-feeds": b"16\n" + _BODY + b"\n0\n\n",
    "too-short": b"5\r\n" + _BODY + b"\r\n" + _END,
    "long-size": b"f" * 17 + b"\r\n" + _BODY,
    "endless-size": b"0" * _MEGABYTE,
    "endless-extension": b"16;" + b"x" * _MEGABYTE,
    "long-extension": b"16;" + b"x" * 100_000 + b"\r\n" + _BODY + b"\r\n" + _END,
    "many-trailers": _CHUNK + b"0\r\n" + b"X-Test: 1\r\n" * 100_000 + b"\r\n",
    "tiny": b"1\r\n \r\n" * 300_000 + _END,
    "large": b"ffffffff\r\n" + b" " * 3 * _MEGABYTE,
    "no-json": b"1\r\n{\r\n" + _END,
}
_ALLOWED_CHUNKS = {
    "extension": b'16;name=value;quoted="a b"\r\n' + _BODY + b"\r\n" + _END,
    "zeros": b"0" * 1000 + _CHUNK + _END,
    "one-byte-each": b"".join(b"1\r\n%c\r\n" % byte for byte in _BODY) + _END,
    "trailers": _CHUNK + b"0\r\nX-Test: 1\r\nContent-Type: text/plain\r\nAuthorization: Bearer x\r\n\r\n",
}
_ALLOWED = {
    "empty-lines-at-first": b"\r\n\r\n" + request(b"GET", b"/api/ping"),
    "spaces-in-the-first-line": b"GET   /api/ping   HTTP/1.1\r\nHost: x\r\n\r\n",
    "absolute-target": request(b"GET", b"http://localhost/api/ping"),
    "empty-host": b"GET /api/ping HTTP/1.1\r\nHost:\r\n\r\n",
    "old-version-without-host": b"GET /api/ping HTTP/1.0\r\n\r\n",
    "empty-query": request(b"GET", b"/api/ping?"),
    "body": request(b"GET", b"/api/ping", _JSON, body=_BODY),
    "large-body": request(b"GET", b"/api/ping", body=b"x" * 5 * _MEGABYTE),
    "chunked-body": request(b"GET", b"/api/ping", _CHUNKED) + _CHUNK + _END,
    "other-protocol": request(b"GET", b"/api/ping", b"Connection: Upgrade", b"Upgrade: h2c"),
}
_ALLOWED_LENGTHS = {
    "zeros": b"Content-Length: 00022",
    "spaces-around": b"Content-Length:   22  ",
    "expecting": b"Expect: 100-continue\r\nContent-Length: 22",
    "expecting-another-thing": b"Expect: 200-miracle\r\nContent-Length: 22",
}
# Requests to upgrade, which a server may ignore (RFC 9110, 7.8).
_UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    "websocket": b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==",
    "twice": b"Upgrade: h2c\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nConnection: HTTP2-Settings",
    "list": b"Connection: keep-alive, uPgRaDe\r\nUPGRADE: h2c, websocket/13, a b",
    "empty": b"Connection: upgrade\r\nUpgrade:",
    "without-connection": b"Upgrade: h2c",
}
_REFUSED_WITH_UPGRADE = {
    "both": b"Content-Length: 22\r\nTransfer-Encoding: chunked",
    "both-reversed": b"Transfer-Encoding: chunked\r\nContent-Length: 22",
    "two-lengths": b"Content-Length: 22\r\nContent-Length: 3",
    "list-of-lengths": b"Content-Length: 22, 22",
    "two-codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "other-coding": b"Transfer-Encoding: gzip, chunked",
    "identity": b"Transfer-Encoding: identity",
    "folded-length": b"X-Test: a\r\n Content-Length: 22",
    "folded-coding": b"Transfer-Encoding:\r\n chunked",
    "folded-upgrade": b"Upgrade: a\r\n\tb\r\nContent-Length: 22",
    "space-before-colon": b"Content-Length : 22",
    "line-feed": b"X-Test: a\nContent-Length: 22",
}
_LAST = request(b"GET", b"/api/ping", b"Connection: close")


def _post(path: bytes, *lines: bytes, body: bytes) -> bytes:
    return request(b"POST", path, _JSON, *lines) + body


@pytest.mark.parametrize("name", _GARBAGE)
def test_garbage(server: Server, name: str) -> None:
    """Bytes that are not HTTP/1.x get a 4xx."""
    assert_refused(server, _GARBAGE[name])


@pytest.mark.parametrize("name", _TARGETS)
def test_targets(server: Server, name: str) -> None:
    """A target that is neither a path nor an absolute URL with a path gets 400."""
    assert_refused(server, request(b"GET", _TARGETS[name]), 400)


@pytest.mark.parametrize("name", _HEADERS)
def test_headers(server: Server, name: str) -> None:
    """Malformed headers get 400; too many or too large headers get 431."""
    assert_refused(server, request(b"GET", b"/api/ping", _HEADERS[name]), 400, 431)


def test_header_limits(server: Server) -> None:
    """The limits are 100 headers, including Host, and the size of the head."""
    assert respond_fast(server, request(b"GET", b"/api/ping", *[b"a:"] * 99)).status == 200
    assert_refused(server, request(b"GET", b"/api/ping", *[b"a:"] * 100), 431)
    assert respond_fast(server, request(b"GET", b"/api/ping", b"a: " + b"x" * 65_000)).status == 200
    assert_refused(server, request(b"GET", b"/api/ping", b"a: " + b"x" * 90_000), 431)


def test_duplicate_token(server: Server, user_header: bytes) -> None:
    """Two tokens are ambiguous."""
    assert_refused(server, request(b"GET", b"/api/user/profile", user_header, b"Authorization: Bearer x"), 401)


def test_websocket(server: Server) -> None:
    """A request to upgrade to WebSocket is handled as a normal request."""
    upgrade = (b"Connection: upgrade", b"Upgrade: websocket")
    assert_refused(server, request(b"GET", b"/api/user/profile", *upgrade), 401)


@pytest.mark.parametrize("body", [b"Content-Length: 22\r\n\r\n" + _BODY, _CHUNKED + b"\r\n\r\n" + _CHUNK + _END])
@pytest.mark.parametrize("upgrade", _UPGRADES)
def test_upgrade_with_a_body(server: Server, user_header: bytes, comments: bytes, upgrade: str, body: bytes) -> None:
    """Upgrade is ignored: the body belongs to the request, and the bytes after it are the next request."""
    message = b"\r\n".join([b"POST %s HTTP/1.1" % comments, _HOST, user_header, _JSON, _UPGRADES[upgrade], body])
    assert send_to_the_end(server.url, message + message + _LAST) == [201, 201, 200]


@pytest.mark.parametrize("upgrade", _UPGRADES)
def test_request_in_the_body_of_an_upgrade(server: Server, upgrade: str) -> None:
    """A body that looks like a request is no request."""
    hidden = request(b"GET", b"/api/ping") * 3
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    for message in (
        request(b"POST", b"/api/user/auth/sign-in", _UPGRADES[upgrade], body=hidden),
        request(b"POST", b"/api/user/auth/sign-in", _UPGRADES[upgrade], _CHUNKED) + chunk,
    ):
        assert send_to_the_end(server.url, message + _LAST) == [400, 200]


@pytest.mark.parametrize("framing", _REFUSED_WITH_UPGRADE)
@pytest.mark.parametrize("upgrade", [b"Connection: upgrade\r\nUpgrade: h2c", b"Upgrade: a\r\nConnection: x, upgrade"])
def test_ambiguous_upgrade(server: Server, upgrade: bytes, framing: str) -> None:
    """An ambiguous body length is refused with Upgrade as without, and no later request is parsed."""
    for lines in ([upgrade, _REFUSED_WITH_UPGRADE[framing]], [_REFUSED_WITH_UPGRADE[framing], upgrade]):
        message = request(b"POST", b"/api/ping", _JSON, *lines)
        assert_refused(server, message + _BODY, 400)
        assert send_to_the_end(server.url, message + request(b"GET", b"/api/ping") * 2 + _LAST) == [400]


@pytest.mark.parametrize("framing", [b"Content-Length: 40", _CHUNKED])
def test_connect_with_a_body(server: Server, framing: bytes) -> None:
    """CONNECT has no body; without one it is 405, and the bytes after it are ignored."""
    assert_refused(server, request(b"CONNECT", b"/api/ping", framing), 400)
    assert_refused(server, request(b"CONNECT", b"/api/ping", b"Connection: upgrade", b"Upgrade: h2c", framing), 400)
    assert send_to_the_end(server.url, request(b"CONNECT", b"/api/ping") + _LAST) == [405]


def test_requests_after_an_upgrade(server: Server) -> None:
    """Bytes after a request to upgrade are the next request, because the server does not change the protocol."""
    upgrade = request(b"GET", b"/api/ping", b"Connection: upgrade", b"Upgrade: h2c")
    assert send_to_the_end(server.url, upgrade * 3 + _LAST) == [200] * 4
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    assert send_to_the_end(server.url, upgrade + preface + _LAST) == [200, 400]


def test_order_of_pipelined_responses(server: Server, user_header: bytes, comments: bytes) -> None:
    """Pipelined requests get responses in order, also if the last request is malformed."""
    add = _post(comments, user_header, b"Content-Length: 22", body=_BODY)
    broken = [b"nonsense\r\n\r\n", _post(comments, user_header, _CHUNKED, body=_CHUNK + b"nonsense")]
    for last in broken:
        assert send_to_the_end(server.url, add + add + last + add) == [201, 201, 400]


@pytest.mark.parametrize("name", _LENGTHS)
def test_lengths(server: Server, user_header: bytes, comments: bytes, name: str) -> None:
    """A body with an ambiguous length gets 400, and a too large one 413."""
    assert_refused(server, _post(comments, user_header, _LENGTHS[name], body=_BODY), 400, 413)


def test_no_length(server: Server, user_header: bytes, comments: bytes) -> None:
    """Without Content-Length there is no body, and the bytes are parsed as the next request."""
    assert send_to_the_end(server.url, _post(comments, user_header, body=_BODY)) == [400, 400]


@pytest.mark.parametrize("name", _CODINGS)
def test_transfer_codings(server: Server, user_header: bytes, comments: bytes, name: str) -> None:
    """An unknown or ambiguous transfer coding gets 400."""
    assert_refused(server, _post(comments, user_header, _CODINGS[name], body=_CHUNK + _END), 400)


@pytest.mark.parametrize("name", _CHUNKS)
def test_chunks(server: Server, user_header: bytes, comments: bytes, name: str) -> None:
    """Malformed chunks and excessive overhead of chunks are refused."""
    assert_refused(server, _post(comments, user_header, _CHUNKED, body=_CHUNKS[name]), 400, 413, 431)


@pytest.mark.parametrize("name", _ALLOWED)
def test_allowed(server: Server, name: str) -> None:
    """Requests that RFC 9112 allows get responses. A body of an operation without one is ignored."""
    assert respond_fast(server, _ALLOWED[name]).status == 200


@pytest.mark.parametrize("name", _ALLOWED_LENGTHS)
def test_allowed_lengths(server: Server, user_header: bytes, comments: bytes, name: str) -> None:
    """Content-Length may have leading zeros, and Expect is supported."""
    assert respond_fast(server, _post(comments, user_header, _ALLOWED_LENGTHS[name], body=_BODY)).status == 201


@pytest.mark.parametrize("name", _ALLOWED_CHUNKS)
def test_allowed_chunks(server: Server, user_header: bytes, comments: bytes, name: str) -> None:
    """Chunk extensions and trailers are ignored."""
    assert respond_fast(server, _post(comments, user_header, _CHUNKED, body=_ALLOWED_CHUNKS[name])).status == 201


def test_token_in_a_trailer(server: Server, user_header: bytes, comments: bytes) -> None:
    """A token in a trailer is ignored."""
    message = _post(comments, _CHUNKED, body=_CHUNK + b"0\r\n" + user_header + b"\r\n\r\n")
    assert_refused(server, message, 401)


def test_delete_with_a_body(server: Server, user_header: bytes, comments: bytes) -> None:
    """The body of a DELETE is ignored."""
    like = comments.removesuffix(b"comments") + b"like"
    assert respond_fast(server, request(b"DELETE", like, user_header, _JSON, body=b"\xff" * 1000)).status == 200


def test_many_pipelined_requests(server: Server) -> None:
    """Many pipelined requests are not mistaken for one oversized head."""
    many = request(b"GET", b"/api/ping") * 5000
    assert respond_fast(server, many).status == 200
