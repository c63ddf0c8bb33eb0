"""The documentation page at /api/docs, and the specification at /api/openapi.json.

Connexion would resolve and render the specification for each request, which blocks the event loop for a second. The
page is Scalar, whose script comes from a package: nothing is loaded from another server.
"""

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import orjson
from connexion.middleware.abstract import SpecMiddleware
from connexion.spec import Specification
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from promo_api.contract.compressed_file import CompressedFile

_FOLDER = Path(__file__).parent / "page"
# docs/security.md has the reason of each part.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
_METHODS = "GET, HEAD"


class DocumentationMiddleware(SpecMiddleware):
    """Serves the documentation, and other pages of the application."""

    def __init__(self, app: ASGIApp, pages: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._served = pages

    def add_api(self, specification: Specification, **_options: Any) -> None:
        """Prepare the page, its files and the specification."""
        base_path = specification.base_path
        self._served = {
            **self._served,
            **_redirects(base_path),
            **{f"{base_path}/{name}": file for name, file in _files(specification).items()},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a page, or pass the request on."""
        served = self._served.get(scope["path"]) if scope["type"] == "http" else None
        if served is None:
            await self._app(scope, receive, send)
        elif scope["method"] not in _METHODS.split(", "):
            raise HTTPException(405, f"This method is not allowed here. Use {_METHODS}.", {"Allow": _METHODS})
        else:
            await served(scope, receive, send)


def _files(specification: Specification) -> dict[str, ASGIApp]:
    title = escape(specification["info"]["title"])
    page = Template((_FOLDER / "index.html").read_text(encoding="utf-8")).substitute(title=title)
    scalar = files("flask_openapi_scalar") / "templates" / "scalar" / "js" / "scalar.standalone.js"
    contract = orjson.dumps(specification.raw)
    return {
        "openapi.json": CompressedFile(lambda: contract, "application/json"),
        "docs": CompressedFile(page.encode, "text/html", _HEADERS),
        "docs/scalar.js": CompressedFile(scalar.read_bytes, "text/javascript"),
        "docs/accessibility.js": CompressedFile((_FOLDER / "accessibility.js").read_bytes, "text/javascript"),
        "docs/page.js": CompressedFile((_FOLDER / "page.js").read_bytes, "text/javascript"),
        "docs/page.css": CompressedFile((_FOLDER / "page.css").read_bytes, "text/css"),
        "docs/icon.svg": CompressedFile((_FOLDER / "icon.svg").read_bytes, "image/svg+xml"),
    }


def _redirects(base_path: str) -> dict[str, ASGIApp]:
    # Relative URLs, because a proxy may add a prefix to the path.
    folder = base_path.rpartition("/")[2]
    entrances = {
        "/": f"{base_path}/docs".lstrip("/"),
        "/docs": f"{base_path}/docs".lstrip("/"),
        "/docs/": f"..{base_path}/docs",
        base_path: f"{folder}/docs",
        f"{base_path}/": "docs",
        f"{base_path}/docs/": "../docs",
    }
    # Where the page was before.
    moved = {f"{base_path}/ui": "docs", f"{base_path}/ui/": "../docs"}
    return {
        **{path: RedirectResponse(url, 307) for path, url in entrances.items()},
        **{path: RedirectResponse(url, 308) for path, url in moved.items()},
    }
