"""Media types: the Content-Type of a request, and the choice of a response by Accept."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

JSON = "application/json"
_CHARSETS = ("utf-8", "utf8", "us-ascii", '"utf-8"', '"utf8"', '"us-ascii"')
# Parsing takes 1.5 µs for each character.
_MAX_ACCEPT_CHARS = 1000


def check_content_type(headers: Headers, allowed: Sequence[str]) -> str | None:
    """Return the media type of a body, None if there is no header; check the encoding. HTTPException with 415."""
    content_types = headers.getlist("content-type")
    if len(content_types) > 1:
        raise HTTPException(415, "The request must have one Content-Type.")
    media_type = _check_media_type(content_types[0], allowed) if content_types else None
    encodings = {part.strip().lower() for each in headers.getlist("content-encoding") for part in each.split(",")}
    if encodings - {"identity"}:
        raise HTTPException(415, "The request body must not be compressed. Leave out Content-Encoding.")
    return media_type


def _check_media_type(content_type: str, allowed: Sequence[str]) -> str:
    """Return the allowed media type of a Content-Type in UTF-8.

    The standard library needs a second for 60,000 semicolons and fails on some charsets of RFC 2231.
    """
    essence, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [parameter.partition("=")[2].strip() for parameter in parameters if parameter.startswith("charset")]
    if essence not in allowed:
        raise HTTPException(415, f"The Content-Type of the request body must be {join_types(allowed)}.")
    if not all(charset in _CHARSETS for charset in charsets):
        raise HTTPException(415, "The charset of the request body must be utf-8.")
    return essence


def join_types(media_types: Sequence[str]) -> str:
    """Return media types as a part of a sentence."""
    *others, last = media_types
    return f"{', '.join(others)} or {last}" if others else last


class ResponseTypes:
    """The media types of the successful response of an operation; JSON is preferred."""

    def __init__(self, responses: Mapping[str, Any]) -> None:
        contents = [each.get("content", {}) for status, each in responses.items() if status.startswith("2")]
        # JSON first: it is chosen among types that the client accepts equally.
        self._types: list[str] = sorted(contents[0] if contents else (), key=lambda media_type: media_type != JSON)
        self._offers = [offer for each in self._types for offer in (each, f"{each}; charset=utf-8")]
        self.has_several = len(self._types) > 1
        self.has_streams = any(each != JSON for each in self._types)

    def choose(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the type that a client prefers (RFC 9110, 12.5.1), or the first if it accepts none."""
        accept = ",".join(value.decode("latin-1") for name, value in headers if name == b"accept")
        if not self.has_several or not accept or len(accept) > _MAX_ACCEPT_CHARS:
            return self._types[0]
        best = parse_accept_header(accept, MIMEAccept).best_match(self._offers, self._types[0])
        return str(best).partition(";")[0]
