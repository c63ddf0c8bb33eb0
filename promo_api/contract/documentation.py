"""The documentation page at /api/ui and the contract at /api/openapi.json and /api/openapi.yaml, by Connexion."""

import re

from connexion.middleware.swagger_ui import SwaggerUIMiddleware
from starlette.types import Receive, Scope, Send

_PATHS = re.compile(r"/api/(ui(/[A-Za-z0-9._-]*)?|openapi\.(json|yaml))")


class DocumentationMiddleware(SwaggerUIMiddleware):
    """Lets Connexion's page see only its own paths: its router redirects around slashes and costs each request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the documentation, and pass on every other."""
        if scope["type"] == "http" and _PATHS.fullmatch(scope["path"]):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)
