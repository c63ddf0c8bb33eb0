"""Compression of large responses, for operations with `x-compress: true` in api.yml.

The compressed size of a response with a secret and text of an attacker reveals the secret (BREACH). So operations that
return codes or tokens must not opt in.
"""

import re
import zlib
from collections.abc import Iterable, Mapping

_CODINGS = {"x-gzip": "gzip"}
_WEIGHT = re.compile(r"[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
# A smaller response gains less than its compression costs.
_MIN_BYTES = 4096
_FASTEST = 1
# For zlib: the largest window, with the header and trailer of gzip.
_GZIP_WINDOW_BITS = 31


def compress(
    body: bytes, headers: Mapping[str, str], request_headers: Iterable[tuple[bytes, bytes]]
) -> tuple[bytes, Mapping[str, str]]:
    """Return the body and headers of a response, compressed if it is large and the client accepts gzip."""
    varied = {**headers, "Vary": "Accept-Encoding"}
    if len(body) < _MIN_BYTES or not _accepts_gzip(request_headers):
        return body, varied
    return zlib.compress(body, _FASTEST, _GZIP_WINDOW_BITS), {**varied, "Content-Encoding": "gzip"}


def decompress(body: bytes) -> bytes:
    """Return a compressed body in its original form."""
    return zlib.decompress(body, _GZIP_WINDOW_BITS)


def _accepts_gzip(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether the client accepts gzip and does not prefer plain responses (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for part in ",".join(value.decode("latin-1") for name, value in headers if name == b"accept-encoding").split(","):
        coding, separator, weight = (text.strip() for text in part.partition(";"))
        matched = _WEIGHT.fullmatch(weight)
        # A malformed weight refuses the coding, because a plain response is always acceptable.
        weights[_CODINGS.get(coding.lower(), coding.lower())] = (
            float(matched[1]) if matched else 0.0 if separator else 1.0
        )
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)
