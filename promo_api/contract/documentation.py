"""The documentation page at /api/ui, by Connexion, and the contract for programs at /api/openapi.json.

Connexion renders the contract anew for each request, with every reference resolved: a second of the event loop, and a
file in which the schemas have lost their names. Here it is the file as it was written, rendered once.
"""

import re
from typing import Any

import orjson
from connexion.middleware.swagger_ui import SwaggerUIMiddleware
from connexion.spec import Specification
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_PAGE = re.compile(r"/ui(/[A-Za-z0-9._-]*)?")


class DocumentationMiddleware(SwaggerUIMiddleware):
    """Answers for the documentation, and lets Connexion's own router, which redirects around slashes, see nothing
    else.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self._base_path = ""
        self._contract = b""

    def add_api(self, specification: Specification, **options: Any) -> None:
        """Learn the contract, of which there is one."""
        super().add_api(specification, **options)
        self._base_path = specification.base_path
        self._contract = orjson.dumps(specification.raw)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the documentation, and pass on every other."""
        path = scope.get("path", "").removeprefix(self._base_path)
        if scope["type"] == "http" and path == "/openapi.json":
            if scope["method"] != "GET":
                raise HTTPException(405, "The contract can only be read.", {"Allow": "GET"})
            await Response(self._contract, media_type="application/json")(scope, receive, send)
        elif scope["type"] == "http" and _PAGE.fullmatch(path):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)
