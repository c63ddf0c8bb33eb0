"""The body of a request, limited by its schema.

All bodies in a worker share 64 MB; one sender gets a quarter of it, then 503.
"""

from collections.abc import Hashable, Mapping
from typing import Any, Self

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from promo_api.contract.input_limits import max_bytes, max_structural_chars
from promo_api.contract.json_parser import parse_json
from promo_api.contract.schemas import compile_schema
from promo_api.errors import Overloaded, Violation

# The limit if the schema implies none.
_MAX_BODY_BYTES = 2 * 1024 * 1024
# A body that is a little too large gets a useful message.
_EXTRA_BYTES = 4 * 1024
_EXTRA_STRUCTURAL_CHARS = 1000
_MEMORY_BYTES = 64 * 1024 * 1024
_SENDER_BYTES = _MEMORY_BYTES // 4
_MEDIA_TYPE = "application/json"
_STRUCTURAL_CHARS = (b"[", b"{", b":")
_CHARSETS = ("utf-8", "utf8", "us-ascii", '"utf-8"', '"utf8"', '"us-ascii"')


class BodyMemory:
    """The bytes of all bodies in a worker. Not thread-safe."""

    def __init__(self) -> None:
        self._total = 0
        self._by_sender: dict[Hashable, int] = {}

    def allocate(self, sender: Hashable, size: int) -> None:
        """Count bytes; Overloaded if they do not fit."""
        of_sender = self._by_sender.get(sender, 0) + size
        if of_sender > _SENDER_BYTES or self._total + size > _MEMORY_BYTES:
            raise Overloaded("Too many large requests are in progress. Try again in a moment.")
        self._by_sender[sender] = of_sender
        self._total += size

    def free(self, sender: Hashable, size: int) -> None:
        """Undo `allocate`."""
        self._total -= size
        left = self._by_sender.get(sender, 0) - size
        if left:
            self._by_sender[sender] = left
        else:
            self._by_sender.pop(sender, None)


class MemoryShare:
    """The bytes of one request, in a `with` block."""

    def __init__(self, memory: BodyMemory, sender: Hashable) -> None:
        self._memory = memory
        self._sender = sender
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._size:
            self._memory.free(self._sender, self._size)

    def grow(self, size: int) -> None:
        """Add bytes; Overloaded if they do not fit."""
        if size:
            self._memory.allocate(self._sender, size)
            self._size += size


class JsonBody:
    """The body of an operation."""

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self._required: bool = declared.get("required", False)
        schema = declared["content"][_MEDIA_TYPE]["schema"]
        self._validator = compile_schema(schema)
        self._max_structural_chars = max_structural_chars(schema) + _EXTRA_STRUCTURAL_CHARS
        self._max_bytes = int(min(max_bytes(schema) + _EXTRA_BYTES, _MAX_BODY_BYTES))

    async def read(
        self, scope: Scope, receive: Receive, arguments: dict[str, Any], share: MemoryShare
    ) -> list[Violation]:
        """Put a valid body into the arguments; return the violations of an invalid one.

        Raises:
            HTTPException: 413 or 415.
            InvalidInput: malformed JSON.
            Overloaded: no memory is left.
        """
        headers = Headers(scope=scope)
        content = await self._content(headers, receive, share)
        if not content:
            return [Violation("body", "", "is required")] if self._required else []
        _check_type(headers)
        if sum(map(content.count, _STRUCTURAL_CHARS)) > self._max_structural_chars:
            most = int(self._max_structural_chars)
            message = f"has too many arrays, objects and members; at most {most} of the characters [ {{ : are allowed"
            return [Violation("body", "", message)]
        body = parse_json(content)
        violations = self._validator.violations(body, "body")
        if not violations:
            arguments["body"] = body
        return violations

    async def _content(self, headers: Headers, receive: Receive, share: MemoryShare) -> bytes:
        declared = headers.get("content-length", "")
        # Python refuses to parse thousands of digits.
        if declared.isdecimal() and int(declared[:20]) > self._max_bytes:
            raise self._too_large()
        content = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            if len(content) + len(part) > self._max_bytes:
                raise self._too_large()
            share.grow(len(part))
            content += part
            more = message.get("more_body", False)
        return bytes(content)

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"The request body must not be larger than {self._max_bytes} bytes.")


def _check_type(headers: Headers) -> None:
    """Check the media type, if there is one, and the encoding."""
    media_types = headers.getlist("content-type")
    if len(media_types) > 1:
        raise HTTPException(415, "The request must have one Content-Type.")
    if media_types:
        _check_media_type(media_types[0])
    encodings = {part.strip().lower() for each in headers.getlist("content-encoding") for part in each.split(",")}
    if encodings - {"identity"}:
        raise HTTPException(415, "The request body must not be compressed. Leave out Content-Encoding.")


def _check_media_type(media_type: str) -> None:
    """Check that a Content-Type is JSON in UTF-8.

    The standard library needs a second for 60,000 semicolons and fails on some charsets of RFC 2231.
    """
    essence, *parameters = (part.strip().lower() for part in media_type.split(";"))
    charsets = [parameter.partition("=")[2].strip() for parameter in parameters if parameter.startswith("charset")]
    if essence != _MEDIA_TYPE:
        raise HTTPException(415, f"The Content-Type of the request body must be {_MEDIA_TYPE}.")
    if not all(charset in _CHARSETS for charset in charsets):
        raise HTTPException(415, "The charset of the request body must be utf-8.")
