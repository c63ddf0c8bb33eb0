"""Malformed paths, queries and tokens get a 4xx at once, and the server survives."""

import pytest

from tests.e2e.raw import request, send_broken
from tests.e2e.refusals import assert_refused
from tests.e2e.server import Server

pytestmark = pytest.mark.usefixtures("unharmed")

_UUID = b"00000000-0000-4000-8000-000000000000"

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


@pytest.mark.parametrize("name", _PATHS)
def test_paths(server: Server, user_header: bytes, name: str) -> None:
    """A path that is not in the contract or malformed gets 400, 404 or 414."""
    assert_refused(server, request(b"GET", _PATHS[name], user_header), 400, 404, 414)


@pytest.mark.parametrize("name", _QUERIES)
def test_queries(server: Server, user_header: bytes, name: str) -> None:
    """A query that does not follow the contract gets 400."""
    assert_refused(server, request(b"GET", b"/api/user/feed?" + _QUERIES[name], user_header), 400)


def test_long_list_in_a_query(server: Server, company_header: bytes) -> None:
    """A query parameter with the longest possible list gets 400."""
    path = b"/api/business/promo?country=" + b",".join([b"xx"] * 20_000)
    assert_refused(server, request(b"GET", path, company_header), 400)


@pytest.mark.parametrize("name", _TOKENS)
def test_tokens(server: Server, name: str) -> None:
    """A missing or malformed token gets 401."""
    assert_refused(server, request(b"GET", b"/api/user/profile", *_TOKENS[name]), 401)


def test_incomplete_requests(server: Server, user_header: bytes) -> None:
    """A connection that ends during a request does no harm."""
    body = b'{"text": "0123456789"}'
    whole = request(b"POST", b"/api/user/auth/sign-in", user_header, b"Content-Type: application/json", body=body)
    for length in (1, 20, 60, len(whole) - 1):
        assert send_broken(server.url, whole[:length]) == b""
