"""What Connexion 3.3 does when it routes and responds, and which module of ours replaces it.

If a test here fails, Connexion has changed, and the module that the test names may be unnecessary.
"""

import gc
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware
from connexion import FlaskApp

from tests.contract.asgi import call
from tests.contract.sample_api import operation, query
from tests.contract.test_stock_requests import stock


def _show(**arguments: Any) -> dict[str, str]:
    return {name: repr(value) for name, value in arguments.items()}


def _paths(module: str) -> dict[str, Any]:
    parameters = [query("id", {"type": "string"}, place="path", required=True)]
    nothing = {"responses": {"204": {"description": "Gone."}}}
    return {
        "/things": {"get": operation(f"{module}.read")},
        "/things/{id}": {"get": operation(f"{module}.show", parameters=parameters)},
        "/things/newest": {"post": operation(f"{module}.add"), "delete": operation(f"{module}.delete") | nothing},
    }


def _app(module: str) -> FlaskApp:
    return stock(module, _paths(module), read=lambda: {"read": "yes"}, show=_show, add=dict, delete=lambda: (None, 204))


@pytest.fixture(scope="module")
def app() -> FlaskApp:
    """A stock application."""
    return _app("stock_responses")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_stock_redirects_trailing_slashes(app: FlaskApp, method: str) -> None:
    """A trailing slash is a redirect; replaced by contract/routing.py."""
    assert call(app, method, "/api/things/").status == 307


def test_stock_redirects_without_a_location(app: FlaskApp) -> None:
    """A double slash is a redirect without a Location; replaced by contract/routing.py, and Flask gets a fixed path."""
    response = call(app, "GET", "/api//things")
    assert (response.status, response.header("location")) == (308, None)


@pytest.mark.parametrize("target", ["/api/things/%0A", "/api/things/a%0Ab"])
def test_stock_fails_on_newlines(app: FlaskApp, target: str) -> None:
    """A newline in a path is 500, because two routers disagree; contract/routing.py is the only router."""
    assert call(app, "GET", target).status == 500


def test_stock_allows_the_methods_of_one_route(app: FlaskApp) -> None:
    """`Allow` lacks POST and DELETE, which another route has; contract/routing.py groups operations by path."""
    response = call(app, "PUT", "/api/things/newest")
    assert response.status == 405
    assert {*(response.header("allow") or "").split(", ")} == {"GET", "HEAD"}


def test_stock_prefers_a_parameter_to_a_literal_path(app: FlaskApp) -> None:
    """GET of a literal path without GET runs the operation of a parameter; contract/routing.py prefers the path."""
    assert call(app, "GET", "/api/things/newest").json() == {"id": "'newest'"}


def test_stock_gives_an_empty_body_a_content_type(app: FlaskApp) -> None:
    """A response without a body has a Content-Type, so no operation of api.yml returns 204."""
    response = call(app, "DELETE", "/api/things/newest")
    assert (response.status, response.content) == (204, b"")
    assert response.header("content-type") is not None


def test_stock_returns_problem_json(app: FlaskApp) -> None:
    """Errors have the form of RFC 7807; replaced by contract/error_responses.py."""
    assert call(app, "GET", "/api/nosuch").header("content-type") == "application/problem+json"


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_stock_fails_on_exceptions_in_error_handlers() -> None:
    """After an exception in an error handler the response is not JSON; replaced by `internal_error`."""

    async def fail(_request: object, _error: Exception) -> None:
        raise LookupError("in the error handler")

    app = _app("stock_broken")
    app.add_error_handler(404, fail)
    response = call(app, "GET", "/api/nosuch")
    assert response.header("content-type") != "application/json"
    assert isinstance(response.raised, TypeError)
    # Python warns of a coroutine that was never awaited when it is freed: do that here, not during another test.
    response.raised = None
    gc.collect()


def test_stock_indents_json(app: FlaskApp) -> None:
    """Responses are indented JSON; contract/flask_views.py writes compact JSON with orjson."""
    assert call(app, "GET", "/api/things").content == b'{\n  "read": "yes"\n}\n'


def test_stock_has_ten_threads(app: FlaskApp) -> None:
    """a2wsgi has ten threads, regardless of settings; replaced by contract/thread_pool.py."""
    wsgi = app._middleware_app.asgi_app
    assert isinstance(wsgi, WSGIMiddleware)
    assert wsgi.executor._max_workers == 10
