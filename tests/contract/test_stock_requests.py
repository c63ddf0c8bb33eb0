"""What Connexion 3.3 does when it reads requests, and which module of ours replaces it.

If a test here fails, Connexion has changed, and the module that the test names may be unnecessary.
"""

import logging
import sys
from types import ModuleType
from typing import Any

import pytest
from connexion import FlaskApp

from tests.contract.asgi import JSON, call
from tests.contract.sample_api import json_body, operation, query

OPENAPI = {"openapi": "3.0.3", "info": {"title": "Stock", "version": "1"}, "servers": [{"url": "/api"}]}


def stock(name: str, paths: dict[str, Any], **handlers: Any) -> FlaskApp:
    """Return an application of stock Connexion, whose handlers are in a new module of this name."""
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(handlers)
    app = FlaskApp(name)
    app.add_api({**OPENAPI, "paths": paths})
    return app


def _show(**arguments: Any) -> dict[str, str]:
    return {name: repr(value) for name, value in arguments.items()}


def _show_body(body: Any = None) -> dict[str, str]:
    return {"body": repr(body)}


@pytest.fixture(scope="module")
def app() -> FlaskApp:
    """A stock application whose handlers return their arguments."""
    schema = {"type": "object", "properties": {"n": {"type": "number"}, "p": {"type": "string", "maxLength": 3}}}
    parameters = [
        query("n", {"type": "integer"}),
        query("b", {"type": "boolean"}),
        query("t", {"type": "string", "maxLength": 2}),
        query("uuid", {"type": "string", "format": "uuid"}),
        query("date", {"type": "string", "format": "date"}),
        query("uri", {"type": "string", "format": "uri"}),
        query("X-N", {"type": "integer"}, place="header"),
    ]
    paths = {
        "/query": {"get": operation("stock_requests.show", parameters=parameters)},
        "/must": {"post": operation("stock_requests.must", requestBody=json_body(schema))},
        "/may": {"post": operation("stock_requests.may", requestBody=json_body(schema, required=False))},
    }
    return stock("stock_requests", paths, show=_show, must=_show_body, may=_show_body)


@pytest.mark.parametrize(
    ("sent", "received"),
    [("n=1_0", "10"), ("n=%2B5", "5"), ("n=01", "1"), ("n=%205", "5"), ("b=TRUE", "True"), ("n=1&n=2", "2")],
)
def test_stock_parses_leniently(app: FlaskApp, sent: str, received: str) -> None:
    """`1_0`, `+5` and `TRUE` are accepted, and the last of two values wins; replaced by contract/parameters.py."""
    response = call(app, "GET", f"/api/query?{sent}")
    assert (response.status, response.json()) == (200, {sent[0]: received})


def test_stock_validates_another_query(app: FlaskApp) -> None:
    """The handler gets a longer text than the validator saw; contract/parameters.py decodes once."""
    assert call(app, "GET", "/api/query?t=%FF").json() == {"t": "'%FF'"}


def test_stock_accepts_unknown_parameters(app: FlaskApp) -> None:
    """An undeclared parameter is ignored; contract/parameters.py refuses it."""
    assert call(app, "GET", "/api/query?nosuch=1").status == 200


@pytest.mark.parametrize("sent", ["uuid=x", "date=2025-02-30", "uri=no%20uri"])
def test_stock_checks_no_formats(app: FlaskApp, sent: str) -> None:
    """A malformed uuid, date or uri is accepted; replaced by contract/formats.py."""
    assert call(app, "GET", f"/api/query?{sent}").status == 200


def test_stock_does_not_convert_headers(app: FlaskApp) -> None:
    """An integer in a header is refused as a string; contract/parameters.py reads headers too."""
    assert call(app, "GET", "/api/query", headers=[("x-n", "5")]).status == 400


@pytest.mark.parametrize(
    "body", [b"\xff", b'{"n":' + b"9" * 5000 + b"}", b"[" * 100_000], ids=["no UTF-8", "huge integer", "deep"]
)
def test_stock_fails_on_bodies(app: FlaskApp, body: bytes) -> None:
    """Invalid UTF-8, deep nesting or a huge number is 500; replaced by contract/bodies.py."""
    assert call(app, "POST", "/api/must", headers=[JSON], body=body).status == 500


def test_stock_accepts_nan(app: FlaskApp) -> None:
    """NaN, which is not JSON, is accepted; contract/bodies.py parses with orjson."""
    assert call(app, "POST", "/api/must", headers=[JSON], body=b'{"n":NaN}').json() == {"body": "{'n': nan}"}


def test_stock_skips_validation_for_other_media_types(app: FlaskApp) -> None:
    """`Application/JSON` is not validated, and the handler gets bytes; replaced by contract/bodies.py."""
    response = call(app, "POST", "/api/must", headers=[("content-type", "Application/JSON")], body=b'{"n":"x"}')
    assert response.json() == {"body": repr(b'{"n":"x"}')}


def test_stock_validates_another_body(app: FlaskApp) -> None:
    """Without a Content-Type the body is validated, but the handler gets bytes; replaced by contract/bodies.py."""
    assert call(app, "POST", "/api/must", body=b'{"n":"x"}').status == 400
    assert call(app, "POST", "/api/must", body=b'{"n":1}').json() == {"body": repr(b'{"n":1}')}


def test_stock_ignores_an_unknown_charset(app: FlaskApp) -> None:
    """An unknown charset is not 415; contract/bodies.py has a list of charsets."""
    headers = [("content-type", "application/json; charset=nosuch")]
    assert call(app, "POST", "/api/must", headers=headers, body=b'{"n":1}').status in (200, 500)


def test_stock_refuses_chunked_bodies(app: FlaskApp) -> None:
    """A chunked body counts as missing; replaced by contract/bodies.py."""
    response = call(app, "POST", "/api/must", headers=[JSON], chunks=[b'{"n"', b":1}"])
    assert (response.status, response.json()["detail"]) == (400, "RequestBody is required")


@pytest.mark.parametrize("headers", [[], [JSON]])
def test_stock_requires_optional_bodies(app: FlaskApp, headers: list[tuple[str, str]]) -> None:
    """A missing optional body is 400; replaced by contract/bodies.py."""
    assert call(app, "POST", "/api/may", headers=headers).status == 400


def test_stock_repeats_input(app: FlaskApp, caplog: pytest.LogCaptureFixture) -> None:
    """Response and log contain the password; contract/schemas.py has its own messages."""
    caplog.set_level(logging.INFO)
    response = call(app, "POST", "/api/must", headers=[JSON], body=b'{"p":"hunter2"}')
    assert "hunter2" in response.json()["detail"]
    assert "hunter2" in caplog.text
