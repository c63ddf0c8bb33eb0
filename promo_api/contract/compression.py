"""Compression of large responses.

Operations with codes or tokens must not have `x-compress`: the size would reveal them (BREACH).
"""

import re
import zlib
from collections.abc import Iterable, Mapping

_CODINGS = {"x-gzip": "gzip"}
_WEIGHT = re.compile(r"[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_MIN_BYTES = 4096
_FASTEST = 1
# zlib: the largest window, in gzip format.
GZIP_WINDOW_BITS = 31


def compress(
    body: bytes, headers: Mapping[str, str], request_headers: Iterable[tuple[bytes, bytes]]
) -> tuple[bytes, Mapping[str, str]]:
    """Compress a large body if the client accepts gzip; return body and headers."""
    varied = {**headers, "Vary": ", ".join([*filter(None, [headers.get("Vary")]), "Accept-Encoding"])}
    if len(body) < _MIN_BYTES or not accepts_gzip(request_headers):
        return body, varied
    return zlib.compress(body, _FASTEST, GZIP_WINDOW_BITS), {**varied, "Content-Encoding": "gzip"}


def decompress(body: bytes) -> bytes:
    """Undo the compression."""
    return zlib.decompress(body, GZIP_WINDOW_BITS)


def accepts_gzip(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether gzip is accepted, and not less than plain (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for part in ",".join(value.decode("latin-1") for name, value in headers if name == b"accept-encoding").split(","):
        coding, separator, weight = (text.strip() for text in part.partition(";"))
        matched = _WEIGHT.fullmatch(weight)
        # A malformed weight refuses the coding.
        weights[_CODINGS.get(coding.lower(), coding.lower())] = (
            float(matched[1]) if matched else 0.0 if separator else 1.0
        )
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)
