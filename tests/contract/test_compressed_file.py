"""Files that are compressed once, cached by browsers, and sent in pieces."""

import asyncio
import hashlib
import zlib
from collections.abc import MutableMapping
from threading import Event
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from promo_api.contract.compressed_file import CompressedFile
from tests.contract.asgi import Header, call

# Random, so that it stays large.
CONTENT = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(32768))
GZIP: Header = ("accept-encoding", "gzip")
LARGEST_MESSAGE = 256 * 1024


@pytest.fixture
def file() -> CompressedFile:
    """A file of 1 MB."""
    return CompressedFile(lambda: CONTENT, "text/javascript", {"X-Own": "own"})


@pytest.mark.parametrize("headers", [[], [GZIP]])
def test_content(file: CompressedFile, headers: list[Header]) -> None:
    """The file is sent compressed to clients that accept gzip, and as it is to others."""
    response = call(file, "GET", "/file", headers=headers)
    content = zlib.decompress(response.content, 31) if headers else response.content
    assert (response.status, content) == (200, CONTENT)
    assert response.header("content-encoding") == ("gzip" if headers else None)
    assert response.header("content-length") == str(len(response.content))
    assert response.header("content-type") == "text/javascript; charset=utf-8"
    assert response.header("vary") == "Accept-Encoding"
    assert (response.header("cache-control"), response.header("x-own")) == ("no-cache", "own")


@pytest.mark.parametrize("headers", [[], [GZIP]])
def test_head(file: CompressedFile, headers: list[Header]) -> None:
    """HEAD has the headers of GET, and no body."""
    got, head = (call(file, method, "/file", headers=headers) for method in ("GET", "HEAD"))
    assert (head.status, sorted(head.headers), head.content) == (200, sorted(got.headers), b"")


@pytest.mark.parametrize("form", ["{}", '"other", {}', "{}, *"])
def test_unchanged_file_is_not_sent(file: CompressedFile, form: str) -> None:
    """A client that has the file gets 304 without a body. A proxy may have made the tag strong."""
    tag = call(file, "GET", "/file", headers=[GZIP]).header("etag") or ""
    for each in (tag, tag.removeprefix("W/")):
        response = call(file, "GET", "/file", headers=[("if-none-match", form.format(each))])
        assert (response.status, response.content, response.header("etag")) == (304, b"", tag)
        assert response.header("content-length") is None


def test_changed_file_is_sent(file: CompressedFile) -> None:
    """A client that has other content gets the file."""
    other = call(CompressedFile(lambda: b"other", "text/plain"), "GET", "/file").header("etag") or ""
    assert call(file, "GET", "/file", headers=[("if-none-match", other)]).status == 200


@pytest.mark.parametrize("headers", [[], [GZIP]])
def test_pieces(file: CompressedFile, headers: list[Header]) -> None:
    """The file is sent in pieces, so that a slow client holds one of them and not the file."""
    sizes: list[int] = []

    async def measured(scope: Scope, receive: Receive, send: Send) -> None:
        async def measure(message: MutableMapping[str, Any]) -> None:
            sizes.append(len(message.get("body", b"")))
            await send(message)

        await file(scope, receive, measure)

    assert call(measured, "GET", "/file", headers=headers).status == 200
    assert max(sizes) <= LARGEST_MESSAGE < len(CONTENT) // 2


def test_first_requests() -> None:
    """The first requests wait, without blocking others, while the file is read once."""
    reads, ready = [], Event()

    def read() -> bytes:
        reads.append(ready.wait(30))
        return b"content"

    async def together() -> None:
        file = CompressedFile(read, "text/plain")
        scope: Scope = {"type": "http", "method": "GET", "headers": []}
        requests = [file(scope, _receive, _discard) for _ in range(3)]
        # They begin in this order. A read on the event loop would never see `ready`.
        await asyncio.gather(*requests, asyncio.to_thread(ready.set))

    asyncio.run(together())
    assert reads == [True]


async def _receive() -> MutableMapping[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def _discard(_message: MutableMapping[str, Any]) -> None:
    pass
