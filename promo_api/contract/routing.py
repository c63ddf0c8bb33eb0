"""From path and method to an operation, exactly as specified; HEAD runs the operation of GET.

Starlette's router redirects around slashes, and returns an incomplete `Allow`.
"""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from connexion.middleware.abstract import SpecMiddleware
from connexion.spec import Specification
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from promo_api.contract.operations import operations_of, set_operation_id
from promo_api.errors import NotFound


@dataclass
class _Path:
    """A path of the specification; its operationIds by method."""

    segments: list[str]
    operations: dict[str, str] = field(default_factory=dict)

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """Return the path parameters; None: no match."""
        values: dict[str, str] = {}
        for declared, actual in zip(self.segments, segments, strict=True):
            if declared.startswith("{") and actual and "/" not in actual:
                values[declared[1:-1]] = actual
            elif declared != actual:
                return None
        return values


class RoutingMiddleware(SpecMiddleware):
    """Puts operationId and path parameters into the scope."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._base_path = ""
        # By number of segments.
        self._paths: dict[int, list[_Path]] = {}

    def add_api(self, specification: Specification, **_options: Any) -> None:
        """Read the paths; ValueError if an operationId is not unique."""
        self._base_path = specification.base_path
        paths: dict[str, _Path] = {}
        known: set[str] = set()
        for operation in operations_of(specification):
            if operation.id in known:
                raise ValueError(f"the operationId {operation.id} is not unique")
            known.add(operation.id)
            path = paths.setdefault(operation.path, _Path(operation.path.split("/")))
            path.operations[operation.method] = operation.id
            if operation.method == "GET":
                path.operations["HEAD"] = operation.id
        # `/promo/history` is matched before `/promo/{id}`.
        for path in sorted(paths.values(), key=lambda path: [segment.startswith("{") for segment in path.segments]):
            self._paths.setdefault(len(path.segments), []).append(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route a request; raises NotFound, or HTTPException with 405."""
        if scope["type"] == "http":
            path, scope["path_params"] = self._find(scope["raw_path"].decode("latin-1"))
            operation_id = path.operations.get(scope["method"])
            if operation_id is None:
                allowed = ", ".join(sorted(path.operations))
                raise HTTPException(405, f"This method is not allowed here. Use {allowed}.", {"Allow": allowed})
            set_operation_id(scope, operation_id)
        await self._app(scope, receive, send)

    def _find(self, requested: str) -> tuple[_Path, dict[str, str]]:
        if not requested.startswith(f"{self._base_path}/"):
            raise NotFound(f"Not found. All paths begin with {self._base_path}/.")
        found = self._match(requested)
        if found is not None:
            return found
        if requested.endswith("/") and self._match(requested[:-1]):
            raise NotFound("Not found. Leave out the slash at the end of the path.")
        raise NotFound("Not found.")

    def _match(self, requested: str) -> tuple[_Path, dict[str, str]] | None:
        """Return the path and its parameters; None: no match."""
        # The raw path: %2F is part of a segment, as for a proxy.
        segments = [unquote(segment) for segment in requested[len(self._base_path) :].split("/")]
        for path in self._paths.get(len(segments), ()):
            values = path.match(segments)
            if values is not None:
                return path, values
        return None
