"""Compression of large responses, for operations with `x-compress: true` in api.yml.

The size of a compressed response depends on how its parts resemble each other. If secrets stand beside text that others
choose, that size gives the secrets away (BREACH). So an operation whose responses hold codes or tokens must not have
`x-compress`.
"""

import re
import zlib
from collections.abc import Iterable, Mapping

_CODINGS = {"x-gzip": "gzip"}
_WEIGHT = re.compile(r"[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
# A smaller response fits into a few packets, and would gain less than its compression costs.
_BYTES_MIN = 4096
_FASTEST = 1
# In zlib's terms: the largest window, with the header and trailer of gzip.
_GZIP_WINDOW_BITS = 31


def compress(
    body: bytes, headers: Mapping[str, str], request_headers: Iterable[tuple[bytes, bytes]]
) -> tuple[bytes, Mapping[str, str]]:
    """Return the body and headers of a response, compressed if it is large and the client accepts gzip."""
    varied = {**headers, "Vary": "Accept-Encoding"}
    if len(body) < _BYTES_MIN or not _accepts_gzip(request_headers):
        return body, varied
    return zlib.compress(body, _FASTEST, _GZIP_WINDOW_BITS), {**varied, "Content-Encoding": "gzip"}


def decompress(body: bytes) -> bytes:
    """Return the body of a response as it was before its compression."""
    return zlib.decompress(body, _GZIP_WINDOW_BITS)


def _accepts_gzip(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether the client accepts gzip, and does not prefer the plain response (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for part in ",".join(value.decode("latin-1") for name, value in headers if name == b"accept-encoding").split(","):
        coding, separator, weight = (text.strip() for text in part.partition(";"))
        matched = _WEIGHT.fullmatch(weight)
        # A weight that cannot be read refuses the coding: a plain response is always right.
        weights[_CODINGS.get(coding.lower(), coding.lower())] = (
            float(matched[1]) if matched else 0.0 if separator else 1.0
        )
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)
