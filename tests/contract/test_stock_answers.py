"""Why the parts that route and answer are our own: what Connexion 3.3 does in their place.

A test here that fails says that Connexion has changed, and that the module named in it may have become unnecessary.
"""

import gc
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware
from connexion import FlaskApp

from tests.contract.asgi import ask
from tests.contract.test_stock_requests import stock
from tests.contract.tiny import operation, query


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
    return _app("stock_answers")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_stock_redirects_trailing_slashes(app: FlaskApp, method: str) -> None:
    """A slash at the end is a redirect: why there is contract/routing.py."""
    assert ask(app, method, "/api/things/").status == 307


def test_stock_redirects_to_nowhere(app: FlaskApp) -> None:
    """A doubled slash is a redirect without a Location: why Flask gets no path from outside, contract/routing.py."""
    answer = ask(app, "GET", "/api//things")
    assert (answer.status, answer.header("location")) == (308, None)


@pytest.mark.parametrize("target", ["/api/things/%0A", "/api/things/a%0Ab"])
def test_stock_fails_on_newlines(app: FlaskApp, target: str) -> None:
    """A newline in a path is 500, since two routers do not agree: why there is one, contract/routing.py."""
    assert ask(app, "GET", target).status == 500


def test_stock_allows_the_methods_of_one_route(app: FlaskApp) -> None:
    """`Allow` leaves out POST and DELETE, which another route has: why contract/routing.py knows paths."""
    answer = ask(app, "PUT", "/api/things/newest")
    assert answer.status == 405
    assert {*(answer.header("allow") or "").split(", ")} == {"GET", "HEAD"}


def test_stock_takes_a_parameter_for_a_path_that_is_spelled_out(app: FlaskApp) -> None:
    """GET of a path that has only POST and DELETE is another operation: why contract/routing.py sorts."""
    assert ask(app, "GET", "/api/things/newest").json() == {"id": "'newest'"}


def test_stock_takes_head_for_get(app: FlaskApp) -> None:
    """HEAD, which is not described, runs the handler of GET: why contract/routing.py refuses it."""
    assert ask(app, "HEAD", "/api/things").status == 200


def test_stock_gives_nothing_a_type(app: FlaskApp) -> None:
    """An answer without a body has a Content-Type: why no operation of api.yml answers 204."""
    answer = ask(app, "DELETE", "/api/things/newest")
    assert (answer.status, answer.content) == (204, b"")
    assert answer.header("content-type") is not None


def test_stock_answers_errors_as_problems(app: FlaskApp) -> None:
    """Errors are RFC 7807 problems, which api.yml does not describe: why there is contract/responses.py."""
    assert ask(app, "GET", "/api/nosuch").header("content-type") == "application/problem+json"


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_stock_breaks_on_broken_error_handlers() -> None:
    """A failing error handler leaves no answer in the one shape: why ServerErrorMiddleware gets a handler of ours."""

    async def fail(_request: object, _error: Exception) -> None:
        raise LookupError("in the error handler")

    app = _app("stock_broken")
    app.add_error_handler(404, fail)
    answer = ask(app, "GET", "/api/nosuch")
    assert answer.header("content-type") != "application/json"
    assert isinstance(answer.raised, TypeError)
    # What was never awaited is complained of here, and not in the middle of another test.
    answer.raised = None
    gc.collect()


def test_stock_indents(app: FlaskApp) -> None:
    """JSON is written for eyes, by Python: why contract/bridge.py writes it with orjson."""
    assert ask(app, "GET", "/api/things").content == b'{\n  "read": "yes"\n}\n'


def test_stock_bridges_with_ten_threads(app: FlaskApp) -> None:
    """The bridge's threads are ten, whatever the service is set to: why there is contract/bridge.py."""
    bridge = app._middleware_app.asgi_app
    assert isinstance(bridge, WSGIMiddleware)
    assert bridge.executor._max_workers == 10
