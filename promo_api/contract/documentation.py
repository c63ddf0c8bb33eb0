"""The documentation page at /api/ui, and the contract for programs at /api/openapi.json.

Connexion renders the contract anew for each request, with every reference resolved: a second of the event loop, and a
file in which the schemas have lost their names. Here it is the file as it was written, rendered once.

Swagger UI comes from Connexion; the page that it is in is ours, in the folder `page`. Connexion's has the name of a
product for a title, a bar for the addresses of other contracts and a script in its text, which a content security
policy could not tell from one that somebody smuggled in.
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
# What the page needs of Connexion: the address without a slash, which it redirects, and files of Swagger UI.
_CONNEXIONS = [
    "/ui", "/ui/swagger-ui.css", "/ui/swagger-ui-bundle.js", "/ui/favicon-16x16.png", "/ui/favicon-32x32.png",
]  # fmt: skip
# A new version of the service is a new page at once; what is the same is asked for, and not sent again.
_KEPT = "no-cache"
_HEADERS = {
    # The browser itself sees to it that the page loads nothing from elsewhere, nor tells anything to anybody else.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": _KEPT,
}


class DocumentationMiddleware(SwaggerUIMiddleware):
    """Answers for the documentation, and lets Connexion's own router, which redirects around slashes, see nothing
    else.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self._ours: dict[str, Response] = {}
        self._connexions: set[str] = set()

    def add_api(self, specification: Specification, **options: Any) -> None:
        """Learn the contract, of which there is one."""
        super().add_api(specification, **options)
        page = Template(_text("index.html")).substitute(title=escape(specification["info"]["title"]))
        files = {
            "/openapi.json": Response(orjson.dumps(specification.raw), media_type="application/json"),
            "/ui/": Response(page, media_type="text/html", headers=_HEADERS),
            "/ui/page.js": Response(_text("page.js"), media_type="text/javascript", headers=_HEADERS),
            "/ui/page.css": Response(_text("page.css"), media_type="text/css", headers=_HEADERS),
        }
        self._ours = {specification.base_path + path: response for path, response in files.items()}
        self._connexions = {specification.base_path + path for path in _CONNEXIONS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the documentation, and pass on every other."""
        path = scope.get("path", "")
        ours = self._ours.get(path)
        if scope["type"] != "http" or (ours is None and path not in self._connexions):
            await self.app(scope, receive, send)
        elif scope["method"] != "GET":
            raise HTTPException(405, "The documentation can only be read.", {"Allow": "GET"})
        elif ours is not None:
            await ours(scope, receive, send)
        else:

            async def kept(message: Message) -> None:
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message).setdefault("Cache-Control", _KEPT)
                await send(message)

            await super().__call__(scope, receive, kept)


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
