"""Wiring: a specification that cannot be served stops the start with one line."""

from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from promo_api.contract.application import BrokenContract, build_application
from tests.contract.asgi import call
from tests.contract.sample_api import API_KEY, HANDLERS, contract, json_body, one_source, operation, query, serve


def _with(**more: Any) -> dict[str, Any]:
    """Return a contract of one operation."""
    return contract({"/x": {"post": operation(**more)}})


def _parameter(schema: Any, **more: Any) -> dict[str, Any]:
    return _with(parameters=[query("p", schema, **more)])


def _secured(**changes: Any) -> dict[str, Any]:
    document = _with(security=[{"account": []}])
    scheme = deepcopy(document["components"]["securitySchemes"]["account"]) | changes
    document["components"]["securitySchemes"]["account"] = {k: v for k, v in scheme.items() if v is not None}
    return document


def _either(scope: str | None, **changes: Any) -> dict[str, Any]:
    """Return a contract of one operation that takes a token or a key."""
    more = {} if scope is None else {"x-key-scope": scope}
    document = _with(security=[{"account": []}, {"program": []}], **more)
    document["components"]["securitySchemes"]["program"] = API_KEY | changes
    return document


def _assert_broken(file: Path, document: Any, words: str) -> None:
    with pytest.raises(BrokenContract) as caught:
        serve(file, document)
    sentence = str(caught.value)
    assert sentence.startswith(f"{file.name} can't be served: ")
    assert "\n" not in sentence.strip()
    assert words in sentence
    assert caught.value.__cause__ is not None


def test_whole_contract_is_served(tmp_path: Path) -> None:
    """The specification that these tests break is valid."""
    app = serve(tmp_path / "api.yml", _secured())
    assert call(app, "POST", "/api/x").status == 401


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param(_with(operation_id="echo.nosuch"), "nosuch", id="function"),
        pytest.param(_with(operation_id="nosuch.show"), "nosuch", id="module"),
        pytest.param(_with(responses={"200": {"$ref": "#/components/responses/NoSuch"}}), "NoSuch", id="response"),
        pytest.param(_with(parameters=[{"$ref": "#/components/parameters/NoSuch"}]), "NoSuch", id="parameter"),
        pytest.param(_parameter({"$ref": "#/components/schemas/NoSuch"}), "NoSuch", id="schema of a parameter"),
        pytest.param(
            _with(requestBody=json_body({"$ref": "#/components/schemas/NoSuch"})), "NoSuch", id="schema of a body"
        ),
        pytest.param(_with(security=[{"nosuch": []}]), "nosuch", id="security scheme"),
        pytest.param(_secured(scheme="basic"), "account", id="security scheme that is not bearer"),
        pytest.param(_with(**{"x-thread-pool": "nosuch"}), "nosuch", id="thread pool"),
        pytest.param(_either("nosuch"), "echo.show", id="scope"),
    ],
)
def test_unknown_names(tmp_path: Path, document: Any, words: str) -> None:
    """A specification that names something that does not exist is BrokenContract with that name."""
    _assert_broken(tmp_path / "api.yml", document, words)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param(_parameter({"type": "strin"}), "strin", id="unknown type"),
        pytest.param(_parameter({"type": "string", "pattern": "("}), "", id="pattern"),
        pytest.param(_parameter({"type": "string"}, place="cookie"), "cookie", id="cookie"),
        pytest.param(_parameter({"minimum": 1}), "type", id="parameter without a type"),
        pytest.param(_parameter({"type": "object"}), "", id="parameter that is an object"),
        pytest.param(_parameter({"type": "number"}), "", id="parameter that is a number"),
        pytest.param(_with(requestBody={"content": {"text/xml": {"schema": {}}}}), "text/xml", id="no x-max-bytes"),
        pytest.param({**_with(), "openapi": "3.1.0"}, "3.1.0", id="OpenAPI 3.1"),
        pytest.param({"openapi": "3.0.3", "info": {"title": "t", "version": "1"}}, "paths", id="no paths"),
        pytest.param({"info": {"title": "t", "version": "1"}, "paths": {}}, "openapi", id="no OpenAPI"),
        pytest.param({"openapi": "3.0.3", "info": {"title": "t", "version": "1"}, "paths": {}, "x": 1}, "x", id="more"),
        pytest.param(_with(security=[{"account": []}, {}]), "echo.show", id="optional token"),
        pytest.param(_with(security=[{"account": [], "program": []}]), "echo.show", id="token and key"),
        pytest.param(_with(security=[{"account": []}, {"account": []}]), "echo.show", id="two tokens"),
        pytest.param(_with(security=[{"program": []}]), "echo.show", id="key only"),
        pytest.param(_either(None), "echo.show", id="no scope"),
        pytest.param(_with(security=[{"account": []}], **{"x-key-scope": "read"}), "echo.show", id="scope of a token"),
        pytest.param(_with(**{"x-key-scope": "read"}), "echo.show", id="scope without security"),
        pytest.param(_either("read", name="X-Other"), "program", id="header of keys"),
        pytest.param(_either("read", **{"in": "query"}), "program", id="key in the query"),
        pytest.param(contract({"/x": {"get": operation(), "put": operation()}}), "echo", id="operationId twice"),
        pytest.param(contract({"/x/{id}": {"get": operation()}}), "id", id="path parameter that is not declared"),
    ],
)
def test_unsupported_features(tmp_path: Path, document: Any, words: str) -> None:
    """A specification that is invalid or uses an unsupported feature is BrokenContract with the reason."""
    _assert_broken(tmp_path / "api.yml", document, words)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "- a",
        "5",
        "null",
        "a: [",
        "\t- a",
        "a: b: c",
        "*x",
        "{{ x.y }}",
        "{% x %}",
        b"\xff\xfe\x00\x01",
        b"a: \x00",
    ],
    ids=ascii,
)
def test_file_that_is_not_openapi(tmp_path: Path, text: str | bytes) -> None:
    """A file that is not YAML or not an object is BrokenContract with one line."""
    _assert_broken(tmp_path / "api.yml", text, "api.yml")


@pytest.mark.parametrize("name", ["missing.yml", "missing/api.yml", "."])
def test_missing_file(tmp_path: Path, name: str) -> None:
    """A file that cannot be read is BrokenContract."""
    with pytest.raises(BrokenContract, match="can't be served"):
        build_application(
            tmp_path / name,
            package=HANDLERS,
            runtime=None,
            schemes={},
            pools={},
            admit=one_source,
            lifespan=nullcontext,
        )


def test_unknown_security_scheme(tmp_path: Path) -> None:
    """A security scheme that the application does not have is BrokenContract."""
    file = tmp_path / "api.yml"
    serve(file, _secured())
    with pytest.raises(BrokenContract, match="account"):
        build_application(
            file,
            package=HANDLERS,
            runtime=None,
            schemes={},
            pools={},
            admit=one_source,
            lifespan=nullcontext,
        )


def test_runtime_is_the_first_argument(tmp_path: Path) -> None:
    """Every handler gets the runtime of its application."""
    document = _with(operation_id="echo.show_runtime")
    first, second = (serve(tmp_path / f"{n}.yml", document, runtime=n) for n in ("1st", "2nd"))
    assert call(first, "POST", "/api/x").json() == {"runtime": "1st"}
    assert call(second, "POST", "/api/x").json() == {"runtime": "2nd"}
