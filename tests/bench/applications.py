"""One trivial operation in three applications: a plain Flask view, stock Connexion and our contract layer.

Each responds to GET /api/things/{thing_id}?limit=&offset= with a valid token by returning the arguments.
"""

import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import flask
import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from promo_api.contract.application import build_application
from promo_api.contract.flask_views import run_wsgi
from promo_api.contract.thread_pool import ThreadPool
from tests.contract.sample_api import (
    BEARER,
    GOOD_TOKEN,
    SCHEMES,
    SOURCE,
    contract,
    one_source,
    operation,
    pool_limits,
    query,
)

THREADS = 10  # the fixed number of Connexion
TARGET = "/api/things/3f9c2a52-6c0f-4b0e-9d2e-0b6f1f6a4c11?limit=10&offset=20"
AUTHORIZATION = ("authorization", f"Bearer {GOOD_TOKEN}")
RESPONSE = {"id": "3f9c2a52-6c0f-4b0e-9d2e-0b6f1f6a4c11", "limit": 10, "offset": 20}

_HERE = "tests.bench.applications"


def show(*, thing_id: str | UUID, limit: int, offset: int) -> dict[str, Any]:
    """Return the arguments: the handler of all three."""
    return {"id": str(thing_id), "limit": limit, "offset": offset}


def show_layer(_runtime: object, _principal: object, **arguments: Any) -> dict[str, Any]:
    """Adapt `show` to our layer."""
    return show(**arguments)


def show_stock(*, thing_id: str, limit: int, offset: int) -> dict[str, Any]:
    """Adapt `show` to Connexion, which inspects the names of the parameters."""
    return show(thing_id=thing_id, limit=limit, offset=offset)


def read_token(token: str) -> dict[str, str] | None:
    """Return the claims of a valid token, for Connexion."""
    return {"sub": token} if token == GOOD_TOKEN else None


def layer() -> ASGIApp:
    """Return the application of our contract layer."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "api.yml"
        file.write_text(json.dumps(_contract("show_layer")), "utf-8")
        return build_application(
            file,
            package=_HERE,
            runtime=None,
            schemes=SCHEMES,
            pools={"default": pool_limits(THREADS)},
            admit=one_source,
            lifespan=nullcontext,
        )


def stock() -> ASGIApp:
    """Return the application of stock Connexion."""
    from connexion import FlaskApp  # after our layer, which hides warnings of this import

    bearer = {**BEARER, "x-bearerInfoFunc": f"{_HERE}.read_token"}
    app = FlaskApp(_HERE)
    app.add_api(_contract(f"{_HERE}.show_stock", securitySchemes={"account": bearer}))
    application: ASGIApp = app
    return application


def plain() -> ASGIApp:
    """Return a plain Flask view on our thread pool. It parses its arguments with Flask and validates nothing."""
    app = flask.Flask(_HERE)
    app.add_url_rule("/api/things/<thing_id>", "show", _view)
    pool = ThreadPool(
        "default",
        partial(run_wsgi, lambda environ, start: app.wsgi_app(_full_environ(environ), start)),
        pool_limits(THREADS),
        lambda _pool, _reason: None,
    )

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("extensions", {})
            await pool.respond(scope, receive, send, SOURCE)
        else:
            await _lifespan(receive, send)

    return application


def _contract(operation_id: str, **components: Any) -> dict[str, Any]:
    number = {"type": "integer", "minimum": 0, "maximum": 100}
    show_thing = operation(
        operation_id,
        parameters=[
            query("thing_id", {"type": "string", "format": "uuid"}, place="path", required=True),
            query("limit", {**number, "default": 10}),
            query("offset", {**number, "default": 0}),
        ],
        security=[{"account": []}],
    )
    return contract({"/things/{thing_id}": {"get": show_thing}}, **components)


def _view(thing_id: str) -> flask.Response:
    if flask.request.headers.get("authorization") != AUTHORIZATION[1]:
        flask.abort(401)
    arguments = flask.request.args
    body = show(thing_id=thing_id, limit=int(arguments["limit"]), offset=int(arguments["offset"]))
    return flask.Response(orjson.dumps(body), mimetype="application/json")


def _full_environ(environ: dict[str, Any]) -> dict[str, Any]:
    """Add the WSGI variables that our thread pool leaves out because our layer does not need them."""
    scope = environ["asgi.scope"]
    headers = {
        f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode("latin-1") for name, value in scope["headers"]
    }
    return {**environ, **headers, "PATH_INFO": scope["path"], "QUERY_STRING": scope["query_string"].decode()}


async def _lifespan(receive: Receive, send: Send) -> None:
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})
