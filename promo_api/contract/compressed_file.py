"""A file that browsers cache, and that is sent compressed."""

import hashlib
import zlib
from asyncio import Lock
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from promo_api.contract.compression import GZIP_WINDOW_BITS, accepts_gzip

_LEVEL = 6
# Sent at once: a slow client holds up to four times as many bytes uncompressed, and not the whole file.
_PIECE_BYTES = 32 * 1024


class _Content(NamedTuple):
    etag: str
    size: int
    gzip: bytes


class CompressedFile:
    """Responds to GET and HEAD with a file, or with 304 if the client has it.

    The first request reads and compresses the file, in a thread. From then on only the compressed content is stored,
    and decompressed for a client that does not accept gzip.
    """

    def __init__(self, read: Callable[[], bytes], media_type: str, headers: Mapping[str, str] | None = None) -> None:
        self._read = read
        self._media_type = media_type
        self._headers = headers or {}
        self._content: _Content | None = None
        self._loading = Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond."""
        async with self._loading:
            if self._content is None:
                self._content = await run_in_threadpool(_load, self._read)
        await self._respond(self._content, scope)(scope, receive, send)

    def _respond(self, content: _Content, scope: Scope) -> Response:
        # Browsers keep the file, and ask each time whether it has changed.
        headers = {**self._headers, "Cache-Control": "no-cache", "ETag": content.etag, "Vary": "Accept-Encoding"}
        if _has_etag(Headers(scope=scope), content.etag):
            return Response(status_code=304, headers=headers)
        plain = not accepts_gzip(scope["headers"])
        if not plain:
            headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(content.size if plain else len(content.gzip))
        if scope["method"] == "HEAD":
            return Response(headers=headers, media_type=self._media_type)
        return StreamingResponse(_pieces(content.gzip, plain=plain), headers=headers, media_type=self._media_type)


def _load(read: Callable[[], bytes]) -> _Content:
    data = read()
    # Weak, because it names both the compressed and the plain form.
    etag = f'W/"{hashlib.sha256(data).hexdigest()[:32]}"'
    return _Content(etag, len(data), zlib.compress(data, _LEVEL, GZIP_WINDOW_BITS))


def _has_etag(request: Headers, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in request.get("if-none-match", "").split(",")]
    return etag.removeprefix("W/") in tags


def _pieces(data: bytes, *, plain: bool) -> Iterator[bytes]:
    """Return the pieces of a file. Starlette takes each one in a thread, so that decompression does not block."""
    decompressor = zlib.decompressobj(GZIP_WINDOW_BITS)
    for start in range(0, len(data), _PIECE_BYTES):
        piece = data[start : start + _PIECE_BYTES]
        yield decompressor.decompress(piece) if plain else piece
