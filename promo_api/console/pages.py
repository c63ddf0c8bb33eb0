"""The files of the company console."""

from pathlib import Path

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp

from promo_api.contract.compressed_file import CompressedFile

_FOLDER = Path(__file__).parent / "static"
_MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
}
# docs/security.md has the reason of each part.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
}


def console_pages() -> dict[str, ASGIApp]:
    """Return the applications that serve the console, by path."""
    pages: dict[str, ASGIApp] = {
        f"/console/{path.relative_to(_FOLDER).as_posix()}": _file(path) for path in _FOLDER.rglob("*") if path.is_file()
    }
    pages["/console/"] = pages.pop("/console/index.html")
    # Relative, because a proxy may add a prefix to the path.
    pages["/console"] = RedirectResponse("console/", 307)
    return pages


def _file(path: Path) -> ASGIApp:
    headers = _HEADERS if path.suffix == ".html" else None
    return CompressedFile(path.read_bytes, _MEDIA_TYPES[path.suffix], headers)
