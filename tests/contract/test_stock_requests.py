"""Why the parts that read requests are our own: what Connexion 3.3 does in their place.

A test here that fails says that Connexion has changed, and that the module named in it may have become unnecessary.
"""

import logging
import sys
from types import ModuleType
from typing import Any

import pytest
from connexion import FlaskApp

from tests.contract.asgi import JSON, ask
from tests.contract.tiny import json_body, operation, query

OPENAPI = {"openapi": "3.0.3", "info": {"title": "Stock", "version": "1"}, "servers": [{"url": "/api"}]}


def stock(name: str, paths: dict[str, Any], **handlers: Any) -> FlaskApp:
    """Return an application as Connexion makes it, whose handlers are found in a module of this name."""
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
    """A stock application whose handlers say what they get."""
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
    ("sent", "got"),
    [("n=1_0", "10"), ("n=%2B5", "5"), ("n=01", "1"), ("n=%205", "5"), ("b=TRUE", "True"), ("n=1&n=2", "2")],
)
def test_stock_reads_generously(app: FlaskApp, sent: str, got: str) -> None:
    """`1_0`, `+5` and `TRUE` are values, and of two the last counts: why contract/parameters.py reads by itself."""
    answer = ask(app, "GET", f"/api/query?{sent}")
    assert (answer.status, answer.json()) == (200, {sent[0]: got})


def test_stock_validates_another_query(app: FlaskApp) -> None:
    """The handler gets more characters than the validator let through: why contract/parameters.py decodes once."""
    assert ask(app, "GET", "/api/query?t=%FF").json() == {"t": "'%FF'"}


def test_stock_takes_unknown_parameters(app: FlaskApp) -> None:
    """A parameter that is not described is ignored: why contract/parameters.py refuses it."""
    assert ask(app, "GET", "/api/query?nosuch=1").status == 200


@pytest.mark.parametrize("sent", ["uuid=x", "date=2025-02-30", "uri=no%20uri"])
def test_stock_checks_no_formats(app: FlaskApp, sent: str) -> None:
    """A malformed uuid, date or uri is a good one: why there is contract/formats.py."""
    assert ask(app, "GET", f"/api/query?{sent}").status == 200


def test_stock_does_not_convert_headers(app: FlaskApp) -> None:
    """An integer in a header is refused as a text: why contract/parameters.py reads headers too."""
    assert ask(app, "GET", "/api/query", headers=[("x-n", "5")]).status == 400


@pytest.mark.parametrize(
    "body", [b"\xff", b'{"n":' + b"9" * 5000 + b"}", b"[" * 100_000], ids=["no UTF-8", "huge integer", "deep"]
)
def test_stock_fails_on_bodies(app: FlaskApp, body: bytes) -> None:
    """A body that is no UTF-8, too deep or too large a number is 500: why contract/bodies.py parses."""
    assert ask(app, "POST", "/api/must", headers=[JSON], body=body).status == 500


def test_stock_takes_nan(app: FlaskApp) -> None:
    """NaN, which is no JSON, is a number: why contract/bodies.py parses with orjson."""
    assert ask(app, "POST", "/api/must", headers=[JSON], body=b'{"n":NaN}').json() == {"body": "{'n': nan}"}


def test_stock_lets_an_odd_type_pass_validation(app: FlaskApp) -> None:
    """`Application/JSON` is not validated, and the handler gets bytes: why contract/bodies.py looks at the type."""
    answer = ask(app, "POST", "/api/must", headers=[("content-type", "Application/JSON")], body=b'{"n":"x"}')
    assert answer.json() == {"body": repr(b'{"n":"x"}')}


def test_stock_validates_what_the_handler_does_not_get(app: FlaskApp) -> None:
    """Without a type the handler gets bytes, validated or not: why contract/bodies.py hands over what it read."""
    assert ask(app, "POST", "/api/must", body=b'{"n":"x"}').status == 400
    assert ask(app, "POST", "/api/must", body=b'{"n":1}').json() == {"body": repr(b'{"n":1}')}


def test_stock_ignores_an_unknown_charset(app: FlaskApp) -> None:
    """A charset that does not exist is no 415: why contract/bodies.py knows the charsets that it takes."""
    headers = [("content-type", "application/json; charset=nosuch")]
    assert ask(app, "POST", "/api/must", headers=headers, body=b'{"n":1}').status in (200, 500)


def test_stock_refuses_bodies_in_parts(app: FlaskApp) -> None:
    """A body without a length is missing: why contract/bodies.py reads to the end."""
    answer = ask(app, "POST", "/api/must", headers=[JSON], chunks=[b'{"n"', b":1}"])
    assert (answer.status, answer.json()["detail"]) == (400, "RequestBody is required")


@pytest.mark.parametrize("headers", [[], [JSON]])
def test_stock_demands_optional_bodies(app: FlaskApp, headers: list[tuple[str, str]]) -> None:
    """An optional body that is left out is 400: why contract/bodies.py knows whether it is required."""
    assert ask(app, "POST", "/api/may", headers=headers).status == 400


def test_stock_repeats_what_was_sent(app: FlaskApp, caplog: pytest.LogCaptureFixture) -> None:
    """Answer and log hold the password: why contract/schemas.py has words of its own."""
    caplog.set_level(logging.INFO)
    answer = ask(app, "POST", "/api/must", headers=[JSON], body=b'{"p":"hunter2"}')
    assert "hunter2" in answer.json()["detail"]
    assert "hunter2" in caplog.text
