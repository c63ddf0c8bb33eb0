"""The body of a request: JSON, read whole and limited by its schema, or streamed.

All JSON bodies in a worker share 64 MB; one sender gets a quarter of it, then 503.
"""

from collections.abc import Hashable, Mapping
from typing import Any, Protocol, Self

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from promo_api.contract.input_limits import max_bytes, max_structural_chars
from promo_api.contract.json_parser import parse_json
from promo_api.contract.media_types import JSON, check_content_type
from promo_api.contract.schemas import compile_schema
from promo_api.contract.streams import STREAMED_BODY, StreamedBody, too_large
from promo_api.errors import Overloaded, Violation

# The limit if the schema implies none.
_MAX_BODY_BYTES = 2 * 1024 * 1024
# A body that is a little too large gets a useful message.
_EXTRA_BYTES = 4 * 1024
_EXTRA_STRUCTURAL_CHARS = 1000
_MEMORY_BYTES = 64 * 1024 * 1024
_SENDER_BYTES = _MEMORY_BYTES // 4
_STRUCTURAL_CHARS = (b"[", b"{", b":")


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


class RequestBody(Protocol):
    """The body of an operation."""

    async def read(
        self, scope: Scope, receive: Receive, arguments: dict[str, Any], share: MemoryShare
    ) -> list[Violation]:
        """Put a valid body into the arguments; return the violations of an invalid one.

        Raises:
            HTTPException: 413 or 415.
            InvalidInput: malformed JSON.
            Overloaded: no memory is left.
        """


def make_body(declared: Mapping[str, Any]) -> RequestBody:
    """Return the body that an operation declares. Media types other than JSON are streamed.

    ValueError: a streamed media type has no limit.
    """
    unlimited = [name for name, media in declared["content"].items() if name != JSON and "x-max-bytes" not in media]
    if unlimited:
        raise ValueError(f"request bodies of other media types than {JSON} need x-max-bytes: {', '.join(unlimited)}")
    return JsonBody(declared) if [*declared["content"]] == [JSON] else _SelectedBody(declared)


class JsonBody:
    """A body of JSON."""

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self._required: bool = declared.get("required", False)
        schema = declared["content"][JSON]["schema"]
        self._validator = compile_schema(schema)
        self._max_structural_chars = max_structural_chars(schema) + _EXTRA_STRUCTURAL_CHARS
        self._max_bytes = int(min(max_bytes(schema) + _EXTRA_BYTES, _MAX_BODY_BYTES))

    async def read(
        self, scope: Scope, receive: Receive, arguments: dict[str, Any], share: MemoryShare
    ) -> list[Violation]:
        """See RequestBody."""
        headers = Headers(scope=scope)
        content = await self._content(headers, receive, share)
        if not content:
            return [Violation("body", "", "is required")] if self._required else []
        check_content_type(headers, [JSON])
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
        _check_length(headers, self._max_bytes)
        content = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            if len(content) + len(part) > self._max_bytes:
                raise too_large(self._max_bytes)
            share.grow(len(part))
            content += part
            more = message.get("more_body", False)
        return bytes(content)


class _SelectedBody:
    """A body with several media types, or with one that is not JSON. `x-max-bytes` limits a streamed one.

    Whether there is a body follows from the headers, because nothing of a streamed one is read before the handler runs.
    """

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self._required: bool = declared.get("required", False)
        self._json = JsonBody(declared) if JSON in declared["content"] else None
        self._types = [*declared["content"]]
        self._max_bytes = {name: media["x-max-bytes"] for name, media in declared["content"].items() if name != JSON}

    async def read(
        self, scope: Scope, receive: Receive, arguments: dict[str, Any], share: MemoryShare
    ) -> list[Violation]:
        """See RequestBody."""
        headers = Headers(scope=scope)
        if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
            return [Violation("body", "", "is required")] if self._required else []
        media_type = check_content_type(headers, self._types) or (JSON if self._json else self._types[0])
        if media_type == JSON and self._json is not None:
            return await self._json.read(scope, receive, arguments, share)
        _check_length(headers, self._max_bytes[media_type])
        scope["extensions"][STREAMED_BODY] = True
        arguments["body"] = StreamedBody(media_type, receive, self._max_bytes[media_type])
        return []


def _check_length(headers: Headers, limit: int) -> None:
    declared = headers.get("content-length", "")
    # Python refuses to parse thousands of digits.
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise too_large(limit)
