"""Cross-origin requests: preflights, and the headers of responses."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from tests.contract.asgi import Header, call
from tests.contract.sample_api import GOOD_TOKEN, contract, operation, serve
from tests.operations import OPERATIONS

SHOP, OTHER = "https://shop.example", "https://other.example"
TARGET = "/api/secured"
METHODS = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]


def _app(folder: Path, *origins: str, headers: Sequence[str] = ()) -> ASGIApp:
    secured = operation("echo.show_too", security=[{"account": []}])
    document = contract({"/secured": {"post": secured}})
    return serve(folder / "api.json", document, origins=origins, cross_origin_headers=headers)


def _preflight(origin: str, method: str = "POST", headers: str = "authorization,content-type") -> list[Header]:
    return [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ]


def test_disabled_by_default(tmp_path: Path) -> None:
    """Without configured origins responses have no CORS headers, and OPTIONS is 405."""
    app = _app(tmp_path)
    preflight = call(app, "OPTIONS", TARGET, headers=_preflight(SHOP))
    response = call(app, "POST", TARGET, headers=[("origin", SHOP)])
    assert (preflight.status, response.status) == (405, 401)
    names = [name for name, _ in (*preflight.headers, *response.headers)]
    assert not [name for name in names if name.startswith("access-control-") or name == "vary"]


@pytest.mark.parametrize(("origins", "expected"), [([SHOP, OTHER], SHOP), (["*"], "*")])
def test_preflight(tmp_path: Path, origins: list[str], expected: str) -> None:
    """A preflight needs no token; its response has the allowed methods and headers, and no credentials."""
    response = call(_app(tmp_path, *origins), "OPTIONS", TARGET, headers=_preflight(SHOP))
    assert (response.status, response.content) == (204, b"")
    assert response.header("access-control-allow-origin") == expected
    assert response.header("access-control-allow-credentials") is None
    assert response.header("x-content-type-options") == "nosniff"
    allowed = (response.header("access-control-allow-headers") or "").lower()
    assert {"authorization", "content-type", "idempotency-key", "x-request-id"} <= {*allowed.split(", ")}
    assert {"If-Match", "If-None-Match"} <= {*(response.header("access-control-allow-headers") or "").split(", ")}
    methods = {operation.method for operation in OPERATIONS}
    assert methods | {"HEAD"} == {*METHODS}
    assert response.header("access-control-allow-methods") == ", ".join(METHODS)


@pytest.mark.parametrize("name", ["traceparent", "tracestate", "baggage", "sentry-trace", "X-Tenant", "x_trace", ""])
def test_allowed_headers(tmp_path: Path, name: str) -> None:
    """Headers of tracing libraries are always allowed, and those of the setting, in any case."""
    app = _app(tmp_path, SHOP, headers=["x-tenant", "X_Trace"])
    preflight = _preflight(SHOP, headers=f"authorization, {name}")
    assert call(app, "OPTIONS", TARGET, headers=preflight).status == 204


def test_private_network(tmp_path: Path) -> None:
    """A browser's question about private networks does not refuse the preflight."""
    question = ("access-control-request-private-network", "true")
    response = call(_app(tmp_path, SHOP), "OPTIONS", TARGET, headers=[*_preflight(SHOP), question])
    assert (response.status, response.header("access-control-allow-private-network")) == (204, None)


@pytest.mark.parametrize(
    ("headers", "code", "message"),
    [
        (_preflight(OTHER, "TRACE", "cookie"), "origin_not_allowed", "Pages of this origin may not "),
        (
            _preflight(SHOP, "TRACE", "cookie"),
            "cors_method_not_allowed",
            f"{', '.join(METHODS[:-1])} and PUT only.",
        ),
        (_preflight(SHOP, "get"), "cors_method_not_allowed", "DELETE, "),
        (_preflight(SHOP, headers="cookie"), "cors_headers_not_allowed", "See `details`"),
    ],
)
def test_refusal_names_its_reason(tmp_path: Path, headers: list[Header], code: str, message: str) -> None:
    """The error names the origin, the method or the headers, and what is allowed."""
    error = call(_app(tmp_path, SHOP), "OPTIONS", TARGET, headers=headers).json()
    assert error["code"] == code
    assert message in error["message"]


def test_refused_headers_are_named(tmp_path: Path) -> None:
    """Each refused header is named; a text that is no plain name is not repeated."""
    names = "x-a, authorization ,X-B,<script>,x" + "x" * 60 + ",\xe4,x c," + ",".join(f"x-{n}" for n in range(1000))
    response = call(_app(tmp_path, SHOP), "OPTIONS", TARGET, headers=_preflight(SHOP, headers=names))
    details = response.details()
    assert [detail["pointer"] for detail in details[:7]] == ["/x-a", "/x-b", "", "", "", "", "/x-0"]
    assert {(detail["in"], detail["message"]) for detail in details} == {("header", "is not allowed")}
    assert len(details) == 20
    assert b"script" not in response.content


@pytest.mark.parametrize(
    "headers",
    [_preflight(OTHER), _preflight("null"), _preflight(SHOP, "TRACE"), _preflight(SHOP, headers="cookie")],
    ids=["origin", "null", "method", "header"],
)
def test_refused_preflight(tmp_path: Path, headers: list[Header]) -> None:
    """A refused preflight is 400 with the common error body."""
    response = call(_app(tmp_path, SHOP), "OPTIONS", TARGET, headers=headers)
    assert (response.status, response.header("content-type"), response.json()["status"]) == (
        400,
        "application/json",
        "error",
    )
    assert response.header("access-control-allow-origin") in (None, SHOP)
    assert headers[0][1] == SHOP or response.header("access-control-allow-origin") is None


@pytest.mark.parametrize(("token", "status"), [(GOOD_TOKEN, 200), ("bad", 401)])
def test_responses_to_other_origins(tmp_path: Path, token: str, status: int) -> None:
    """Scripts of an allowed origin may read responses and their headers; scripts of another origin may not."""
    app, authorization = _app(tmp_path, SHOP), ("authorization", f"Bearer {token}")
    response = call(app, "POST", TARGET, headers=[("origin", SHOP), authorization])
    assert (response.status, response.header("access-control-allow-origin")) == (status, SHOP)
    assert "Origin" in (response.header("vary") or "")
    exposed = {*(response.header("access-control-expose-headers") or "").split(", ")}
    assert exposed >= {"ETag", "X-Total-Count", "X-Request-Id", "Retry-After", "Idempotent-Replayed"}
    other = call(app, "POST", TARGET, headers=[("origin", OTHER), authorization])
    assert (other.status, other.header("access-control-allow-origin")) == (status, None)


def test_options_without_a_preflight(tmp_path: Path) -> None:
    """OPTIONS without a preflight is 405."""
    assert call(_app(tmp_path, SHOP), "OPTIONS", TARGET, headers=[("origin", SHOP)]).status == 405
