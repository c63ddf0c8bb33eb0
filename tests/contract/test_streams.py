"""Streamed bodies of requests and responses."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from tests.cases import all_cases
from tests.contract.asgi import JSON, Connection, Header, Response, call
from tests.contract.handlers.streams import EVENTS
from tests.contract.sample_api import GOOD_TOKEN, REVOKED_TOKEN, contract, operation, query, serve

TEXT = {"type": "string"}
LIMIT = 1000
CHUNKED = ("transfer-encoding", "chunked")
CSV, NDJSON = ("content-type", "text/csv"), ("content-type", "application/x-ndjson")
_NUMBERS = {"type": "array", "maxItems": 5, "items": {"type": "integer"}}
_STREAMS = {
    "text/csv": {"schema": TEXT, "x-max-bytes": LIMIT},
    "application/x-ndjson": {"schema": TEXT, "x-max-bytes": 9},
}
_ETAG = {"schema": TEXT, "required": True}
_ROWS = {
    "description": "Rows.",
    "headers": {"ETag": _ETAG},
    "content": {
        "text/csv": {"schema": TEXT},
        "application/json": {"schema": {"type": "array", "items": {"type": "integer"}}},
        "application/x-ndjson": {"schema": TEXT},
    },
}
_REFUSED = {"description": "Refused.", "content": {"application/json": {"schema": {}}}}


def _upload(operation_id: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
    responses = dict.fromkeys(("400", "401", "413", "415"), _REFUSED)
    responses["200"] = {"description": "Received.", "content": {"application/json": {"schema": {}}}}
    return operation(
        operation_id, requestBody={"required": True, "content": content}, **{"responses": responses, **more}
    )


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> ASGIApp:
    """An application with uploads and downloads, whose responses are validated."""
    limits = [query("rows", {"type": "integer", "maximum": 10**6}), query("fail_at", {"type": "integer"})]
    if_none_match = query("If-None-Match", TEXT, place="header")
    only = {"description": "Rows.", "content": {"application/x-ndjson": {"schema": TEXT}}}
    rows = {"200": _ROWS, "304": {"description": "Unchanged."}}
    both = {"application/json": {"schema": _NUMBERS}, **_STREAMS}
    paths = {
        "/both": {"post": _upload("streams.receive", both, parameters=[query("n", {"type": "integer"})])},
        "/csv": {"post": _upload("streams.ignore", {"text/csv": _STREAMS["text/csv"]})},
        "/secured": {"post": _upload("streams.receive_too", both, security=[{"account": []}])},
        "/rows": {"get": operation("streams.send", responses=rows, parameters=[*limits, if_none_match])},
        "/only": {"get": operation("streams.send_only", responses={"200": only})},
    }
    return serve(tmp_path_factory.mktemp("streams") / "api.yml", contract(paths), validate_responses=True)


@pytest.fixture(autouse=True)
def _clear_events() -> None:
    EVENTS.clear()


def _post(app: ASGIApp, chunks: list[bytes], *headers: Header, path: str = "/api/both", **more: Any) -> Response:
    return call(app, "POST", path, headers=(*headers, CHUNKED), chunks=chunks, **more)


def test_stream_arrives(app: ASGIApp) -> None:
    """The handler gets the media type and the chunks of a streamed body, without a length or with one."""
    expected = {"media_type": "text/csv", "size": 5, "largest": 3, "sha256": sha256(b"abcde").hexdigest()}
    assert _post(app, [b"abc", b"", b"de"], CSV).json() == expected
    with_length = call(app, "POST", "/api/both", headers=[CSV], body=b"abcde")
    assert with_length.json() == {**expected, "largest": 5}


def test_json_beside_streams(app: ASGIApp) -> None:
    """A JSON body of the same operation is read and validated as ever, also without a Content-Type."""
    for headers in ([JSON], []):
        assert call(app, "POST", "/api/both", headers=headers, body=b"[1]").json()["body"] == [1]
        assert call(app, "POST", "/api/both", headers=headers, body=b'["x"]').details()[0]["pointer"] == "/0"


@all_cases(
    "content_type", ["text/csv", "Text/CSV", "text/csv; charset=UTF-8", 'text/csv;header=present; charset="utf-8"']
)
def test_streamed_media_types(app: ASGIApp, content_type: str) -> None:
    """A media type is recognised in any case and with parameters."""
    assert _post(app, [b"a"], ("content-type", content_type)).json()["media_type"] == "text/csv"


@all_cases(
    ("headers", "message"),
    [
        ([("content-type", "text/plain")], "must be application/json, text/csv or application/x-ndjson."),
        ([("content-type", "text/csv, application/json")], "must be application/json, text/csv or"),
        ([("content-type", "text/csv; charset=latin-1")], "charset"),
        ([CSV, NDJSON], "one Content-Type"),
        ([CSV, ("content-encoding", "gzip")], "compressed"),
    ],
)
def test_refused_media_types(app: ASGIApp, headers: list[Header], message: str) -> None:
    """Another media type, charset or encoding is 415, and the error names all media types that are allowed."""
    response = call(app, "POST", "/api/both", headers=headers, body=b"x")
    assert (response.status, EVENTS) == (415, [])
    assert message in response.json()["message"]


@pytest.mark.parametrize("headers", [[CSV], [NDJSON], [("content-type", "image/png")], []])
def test_missing_body(app: ASGIApp, headers: list[Header]) -> None:
    """A missing body is 400 with any Content-Type."""
    for body in (b"", None):
        response = call(app, "POST", "/api/both", headers=headers, body=body)
        assert (response.status, response.details()[0]["message"]) == (400, "is required")


def test_operation_without_json(app: ASGIApp) -> None:
    """An operation may take a streamed body only; without a Content-Type the body has its media type."""
    for headers in ([CSV], []):
        response = call(app, "POST", "/api/csv", headers=headers, body=b"x")
        assert response.json() == {"media_type": "text/csv"}
    assert call(app, "POST", "/api/csv", headers=[JSON], body=b"x").json()["message"].endswith("must be text/csv.")


def test_limit_of_bytes(app: ASGIApp) -> None:
    """A body of `x-max-bytes` is read, a larger one is 413; the limit is that of its media type."""
    assert _post(app, [b"x" * 500] * 2, CSV).json()["size"] == LIMIT
    EVENTS.clear()
    for response in (
        _post(app, [b"x" * 500, b"x" * 501], CSV),
        _post(app, [b"x" * 10], NDJSON),
        call(app, "POST", "/api/both", headers=[CSV], body=b"x" * (LIMIT + 1)),
    ):
        assert (response.status, response.json()["code"]) == (413, "body_too_large")
        assert "must not be larger than" in response.json()["message"]
    assert EVENTS == []


@all_cases(
    ("path", "headers", "status"),
    [
        ("/api/both?n=x", [CSV], 400),
        ("/api/both?m=1", [CSV], 400),
        ("/api/secured", [CSV], 401),
        ("/api/secured", [CSV, ("authorization", "Bearer bad")], 401),
        ("/api/secured", [CSV, ("authorization", f"Bearer {REVOKED_TOKEN}")], 401),
        ("/api/both", [CSV, ("content-length", str(LIMIT + 1))], 413),
        ("/api/both", [CSV, ("content-length", "9" * 5000)], 413),
    ],
)
def test_refusal_reads_nothing(app: ASGIApp, path: str, headers: list[Header], status: int) -> None:
    """Errors of parameters and tokens, and a length above the limit, refuse a request before its body is read."""
    response = _post(app, [b"a", b"b"], *headers, path=path)
    assert (response.status, response.read_parts) == (status, 0)


def test_accepted_token(app: ASGIApp) -> None:
    """A streamed body of a secured operation needs a token."""
    assert _post(app, [b"a"], CSV, ("authorization", f"Bearer {GOOD_TOKEN}"), path="/api/secured").status == 200


def test_handler_that_reads_nothing(app: ASGIApp) -> None:
    """A handler may respond without reading the body."""
    assert _post(app, [b"a"], CSV, path="/api/csv").status == 200


def test_disconnect_while_reading(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """A disconnect ends the handler, without a response and without an error in the log."""
    response = _post(app, [b"a"], CSV, disconnects=True)
    assert (response.status, response.raised, EVENTS) == (0, None, ["disconnected"])
    assert caplog.records == []


@all_cases(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
        ("no media type", "application/json"),
        ("application/*", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV", "text/csv"),
        ("text/csv; charset=utf-8", "text/csv"),
        ("text/*", "text/csv"),
        ("application/x-ndjson, text/csv;q=0.9, */*;q=0.1", "application/x-ndjson"),
        ("text/csv;q=0.5, application/x-ndjson;q=0.6", "application/x-ndjson"),
        ("text/csv;q=0.5, */*", "application/json"),
        ("text/csv, application/json", "application/json"),
        ("application/json;q=0, text/csv;q=0.1", "text/csv"),
        ("text/csv;q=0", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("text/csv," + "a/b," * 1000, "application/json"),
    ],
)
def test_negotiation(app: ASGIApp, accept: str | None, media_type: str) -> None:
    """The response has the media type that the client prefers, or else JSON, and varies by Accept."""
    headers = [] if accept is None else [("accept", accept)]
    response = call(app, "GET", "/api/rows", headers=headers)
    assert (response.status, response.header("content-type"), response.header("vary")) == (200, media_type, "Accept")
    assert response.content == (b"[0,1,2]" if media_type == "application/json" else b"0\n1\n2\n")


def test_two_accept_headers(app: ASGIApp) -> None:
    """Several Accept headers are one list."""
    response = call(app, "GET", "/api/rows", headers=[("accept", "text/csv;q=0.1"), ("accept", "application/x-ndjson")])
    assert response.header("content-type") == "application/x-ndjson"


def test_only_one_media_type(app: ASGIApp) -> None:
    """If there is nothing to choose, Accept is ignored, and the handler gets no media type."""
    for accept in ("application/json", "application/x-ndjson"):
        response = call(app, "GET", "/api/only", headers=[("accept", accept)])
        assert (response.header("content-type"), response.header("vary")) == ("application/x-ndjson", None)
        assert response.content == b"0\n1\n"


def test_large_stream(app: ASGIApp) -> None:
    """Small chunks are sent in pieces of 64 KiB, without a length, and the generator is closed at the end."""
    response = call(app, "GET", "/api/rows?rows=100000", headers=[("accept", "text/csv")])
    assert response.content == b"".join(b"%d\n" % row for row in range(100_000))
    assert {len(part) for part in response.parts[:-2]} == {65536}
    assert (response.header("content-length"), response.header("x-rows")) == (None, "100000")
    assert EVENTS == ["began", "ended", "closed"]


def test_streams_have_no_etag(app: ASGIApp) -> None:
    """A stream has no entity tag and ignores If-None-Match; JSON of the same operation has one."""
    conditional = ("if-none-match", "*")
    response = call(app, "GET", "/api/rows", headers=[("accept", "text/csv"), conditional])
    assert (response.status, response.header("etag")) == (200, None)
    assert call(app, "GET", "/api/rows").header("etag")
    unchanged = call(app, "GET", "/api/rows", headers=[conditional])
    assert (unchanged.status, unchanged.header("vary")) == (304, "Accept")


def test_head_of_a_stream(app: ASGIApp) -> None:
    """HEAD returns the headers, and does not run the generator."""
    response = call(app, "HEAD", "/api/rows", headers=[("accept", "text/csv")])
    assert (response.status, response.content, response.header("content-type")) == (200, b"", "text/csv")
    assert EVENTS == []


def test_early_failure(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """An exception before the first piece was sent is a normal error."""
    response = call(app, "GET", "/api/rows?fail_at=2", headers=[("accept", "text/csv")])
    assert (response.status, response.json()["code"]) == (500, "internal_error")
    assert [record.getMessage() for record in caplog.records] == ["internal_error"]
    assert EVENTS == ["began", "closed"]


def test_late_failure(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """A later exception is logged once, and the response does not end."""
    connection = Connection()
    response = call(
        app, "GET", "/api/rows?rows=100000&fail_at=50000", headers=[("accept", "text/csv")], connection=connection
    )
    assert (response.status, response.is_complete, connection.is_aborted) == (200, False, True)
    assert b"revealed" not in response.content
    assert [record.getMessage() for record in caplog.records] == ["response_aborted"]
    assert EVENTS == ["began", "closed"]


def test_disconnect_while_sending(app: ASGIApp, caplog: pytest.LogCaptureFixture) -> None:
    """A disconnect closes the generator."""
    connection = Connection()
    connection.is_aborted = True
    headers = [("accept", "text/csv")]
    response = call(app, "GET", "/api/rows?rows=1000000", headers=headers, connection=connection)
    assert (len(response.content), response.is_complete, EVENTS) == (65536, False, ["began", "closed"])
    assert caplog.records == []


def test_undocumented_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With validation, a stream whose media type or status is not documented is a 500."""
    json_only = {"description": "Rows.", "content": {"application/json": {"schema": {}}}}
    other_type = {"description": "Rows.", "content": {"text/csv": {"schema": TEXT}}}
    paths = {
        "/json": {"get": operation("streams.send_only", responses={"200": json_only})},
        "/csv": {"get": operation("streams.send_only_too", responses={"200": other_type})},
    }
    app = serve(tmp_path / "api.yml", contract(paths), validate_responses=True)
    for path in ("/api/json", "/api/csv"):
        assert call(app, "GET", path).status == 500
    assert [record.getMessage() for record in caplog.records] == ["response_invalid"] * 2
