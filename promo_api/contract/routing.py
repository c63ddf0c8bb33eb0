"""Path and method to operation, exactly as api.yml lists them.

Connexion routes with Starlette's router, which redirects around slashes, takes HEAD for GET, and names in `Allow` the
methods of the first route that matches the path; then Flask routes once more (see bridge.view_finder). Here a path is
either one of api.yml or it is not.
"""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from connexion.http_facts import METHODS
from connexion.middleware.abstract import ROUTING_CONTEXT, SpecMiddleware
from connexion.spec import Specification
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from promo_api.errors import NotFound


def operation_id_of(scope: Scope) -> str:
    """Return the operationId of a request that has been routed."""
    operation_id: str = scope["extensions"][ROUTING_CONTEXT]["operation_id"]
    return operation_id


@dataclass
class _Path:
    """One path of api.yml.

    Attributes:
        segments: its parts between slashes; a parameter in braces.
        operations: operationIds by method in capitals.
    """

    segments: list[str]
    operations: dict[str, str] = field(default_factory=dict)

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """Return the values of the parameters, or None if these are not the segments of this path."""
        values: dict[str, str] = {}
        for declared, given in zip(self.segments, segments, strict=True):
            if declared.startswith("{") and given and "/" not in given:
                values[declared[1:-1]] = given
            elif declared != given:
                return None
        return values


class RoutingMiddleware(SpecMiddleware):
    """Takes the place of Connexion's RoutingMiddleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._base_path = ""
        self._paths: dict[int, list[_Path]] = {}

    def add_api(self, specification: Specification, **_options: Any) -> None:
        """Learn the paths of the contract, of which there is one."""
        self._base_path = specification.base_path
        known: set[str] = set()
        for template, methods in specification["paths"].items():
            path = _Path(template.split("/"))
            for method in METHODS & methods.keys():
                operation_id = methods[method]["operationId"]
                if operation_id in known:
                    raise ValueError(f"the operationId {operation_id} is given twice")
                known.add(operation_id)
                path.operations[method.upper()] = operation_id
            self._paths.setdefault(len(path.segments), []).append(path)
        for paths in self._paths.values():
            # A segment that is spelled out goes before one that is a parameter.
            paths.sort(key=lambda path: [segment.startswith("{") for segment in path.segments])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the operation and the values of the path into the scope.

        Raises:
            NotFound: api.yml has no such path.
            HTTPException: 405, with all methods that the path has.
        """
        if scope["type"] == "http":
            path, scope["path_params"] = self._find(scope["raw_path"].decode("latin-1"))
            operation_id = path.operations.get(scope["method"])
            if operation_id is None:
                allowed = ", ".join(sorted(path.operations))
                raise HTTPException(405, f"This path knows only {allowed}.", {"Allow": allowed})
            routed = {"api_base_path": self._base_path, "operation_id": operation_id}
            scope.setdefault("extensions", {})[ROUTING_CONTEXT] = routed
        await self._app(scope, receive, send)

    def _find(self, requested: str) -> tuple[_Path, dict[str, str]]:
        # As it was sent: a slash that is written %2F belongs to its segment, for us as for a proxy before us.
        if requested.startswith(f"{self._base_path}/"):
            segments = [unquote(segment) for segment in requested[len(self._base_path) :].split("/")]
            for path in self._paths.get(len(segments), ()):
                values = path.match(segments)
                if values is not None:
                    return path, values
        raise NotFound("There is nothing at this path.")
