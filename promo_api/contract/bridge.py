"""The Flask view of each operation: it runs the handler with what the contract layer has checked before."""

from collections.abc import Callable, Mapping
from typing import Any

import flask
import orjson

from promo_api.contract.binding import BoundHandler
from promo_api.contract.compression import compress
from promo_api.contract.routing import operation_id_of
from promo_api.contract.sender import claims_of
from promo_api.contract.validation import call_of


class FoundView:
    """What Flask asks for the view of a request, if it need not search: our routing has found it."""

    def __init__(self, rule: object) -> None:
        self._rule = rule

    def match(self, *, return_rule: bool) -> tuple[object, dict[str, Any]]:  # noqa: ARG002 Flask wants nothing else
        """Return the rule; the values of its path are with the rest of what was checked."""
        return self._rule, {}


def view_finder(views: Mapping[str, FoundView]) -> Callable[[flask.Request | None], FoundView | None]:
    """Return what takes the place of Flask's `create_url_adapter`, given the views by operationId.

    Flask's own would route by path once more, in its own way, for nearly half of what Flask costs.
    """

    def find(request: flask.Request | None) -> FoundView | None:
        if request is None:
            return None
        return views[operation_id_of(request.environ["asgi.scope"])]

    return find


def make_view(handler: BoundHandler) -> Callable[..., flask.Response]:
    """Return the Flask view of an operation.

    Connexion's own view reads path, query and body once more, by its own rules, and works out anew for each request
    what the function takes. This one hands over what has been checked.
    """

    def view() -> flask.Response:
        scope = flask.request.environ["asgi.scope"]
        answer = handler(call_of(scope), claims_of(scope))
        body, status, headers = (*answer, {})[:3] if isinstance(answer, tuple) else (answer, 200, {})
        content = orjson.dumps(body)
        if handler.compress:
            content, headers = compress(content, headers, scope["headers"])
        return flask.Response(content, status, headers, mimetype="application/json")

    return view
