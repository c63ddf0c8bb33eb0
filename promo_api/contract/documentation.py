"""The documentation page at /api/ui, and the specification at /api/openapi.json.

Connexion would resolve and render the specification for each request, which blocks the event loop for a second. Its
page has an inline script, which our content security policy forbids.
"""

from html import escape
from pathlib import Path
from string import Template
from typing import Any

import orjson
from connexion.middleware.swagger_ui import SwaggerUIMiddleware
from connexion.spec import Specification
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FOLDER = Path(__file__).parent / "page"
# From Connexion: a redirect, and the files of Swagger UI.
_CONNEXION_PATHS = [
    "/ui", "/ui/swagger-ui.css", "/ui/swagger-ui-bundle.js", "/ui/favicon-16x16.png", "/ui/favicon-32x32.png",
]  # fmt: skip
_CACHE_CONTROL = "no-cache"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": _CACHE_CONTROL,
}


class DocumentationMiddleware(SwaggerUIMiddleware):
    """Serves the documentation. Other requests bypass Connexion's router, which redirects slashes."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self._ours: dict[str, Response] = {}
        self._connexion_paths: set[str] = set()

    def add_api(self, specification: Specification, **options: Any) -> None:
        """Render the page and the specification."""
        super().add_api(specification, **options)
        page = Template(_text("index.html")).substitute(title=escape(specification["info"]["title"]))
        files = {
            "/openapi.json": Response(orjson.dumps(specification.raw), media_type="application/json"),
            "/ui/": Response(page, media_type="text/html", headers=_HEADERS),
            "/ui/page.js": Response(_text("page.js"), media_type="text/javascript", headers=_HEADERS),
            "/ui/page.css": Response(_text("page.css"), media_type="text/css", headers=_HEADERS),
        }
        self._ours = {specification.base_path + path: response for path, response in files.items()}
        self._connexion_paths = {specification.base_path + path for path in _CONNEXION_PATHS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the documentation, or pass the request on."""
        path = scope.get("path", "")
        ours = self._ours.get(path)
        if scope["type"] != "http" or (ours is None and path not in self._connexion_paths):
            await self.app(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, "This method is not allowed here. Use GET, HEAD.", {"Allow": "GET, HEAD"})
        elif ours is not None:
            await ours(scope, receive, send)
        else:

            async def send_uncached(message: Message) -> None:
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message).setdefault("Cache-Control", _CACHE_CONTROL)
                await send(message)

            await super().__call__(scope, receive, send_uncached)


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
