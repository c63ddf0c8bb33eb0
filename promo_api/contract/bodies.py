"""The body of a request: read once, up to the limit that its schema implies, and parsed once.

The bodies that a worker holds at the same time share a bound, and those of one sender a part of it. A request that does
not fit is refused with 503.
"""

from collections.abc import Hashable, Mapping
from typing import Any, Self

import orjson
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from promo_api.contract.pruning import bytes_max, marks_max
from promo_api.contract.schemas import compile_schema
from promo_api.errors import InvalidInput, Overloaded, Violation

# The limit if the schema implies none.
_BODY_MAX_BYTES = 2 * 1024 * 1024
# For members that the schema does not know, and white space: such a body gets a message that says what is wrong.
_SURPLUS_BYTES = 4 * 1024
_MEMORY_BYTES = 64 * 1024 * 1024
_SENDER_BYTES = _MEMORY_BYTES // 4
_MEDIA_TYPE = "application/json"
# Each list and object of JSON begins with one of them, and each member has one.
_MARKS = (b"[", b"{", b":")
# So many marks too many are let through, to be told of by what is wrong with the value.
_MARKS_SURPLUS = 1000
_CHARSETS = ("utf-8", "utf8", "us-ascii", '"utf-8"', '"utf8"', '"us-ascii"')


class BodyMemory:
    """The bytes of the bodies that a worker holds. Use it on the event loop."""

    def __init__(self) -> None:
        self._total = 0
        self._by_sender: dict[Hashable, int] = {}

    def take(self, sender: Hashable, size: int) -> None:
        """Take bytes for a body.

        Raises:
            Overloaded: the sender, or all senders together, hold too many.
        """
        of_sender = self._by_sender.get(sender, 0) + size
        if of_sender > _SENDER_BYTES or self._total + size > _MEMORY_BYTES:
            raise Overloaded("Too many large requests are being read. Try again in a moment.")
        self._by_sender[sender] = of_sender
        self._total += size

    def give_back(self, sender: Hashable, size: int) -> None:
        """Give bytes back that were taken."""
        self._total -= size
        left = self._by_sender.get(sender, 0) - size
        if left:
            self._by_sender[sender] = left
        else:
            self._by_sender.pop(sender, None)


class HeldBody:
    """The share of a `BodyMemory` that one request holds until the end of a `with` block."""

    def __init__(self, memory: BodyMemory, sender: Hashable) -> None:
        self._memory = memory
        self._sender = sender
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._size:
            self._memory.give_back(self._sender, self._size)

    def grow(self, size: int) -> None:
        """Hold more bytes; Overloaded if there are too many."""
        if size:
            self._memory.take(self._sender, size)
            self._size += size


class JsonBody:
    """The body of an operation, as api.yml declares it."""

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self._required: bool = declared.get("required", False)
        schema = declared["content"][_MEDIA_TYPE]["schema"]
        self._checker = compile_schema(schema)
        self._marks_max = marks_max(schema) + _MARKS_SURPLUS
        self._bytes_max = int(min(bytes_max(schema) + _SURPLUS_BYTES, _BODY_MAX_BYTES))

    async def read(self, scope: Scope, receive: Receive, arguments: dict[str, Any], held: HeldBody) -> list[Violation]:
        """Put the body into the arguments, and return what is wrong with it.

        Raises:
            HTTPException: 413, it is too large; 415, it is something else than JSON in UTF-8.
            InvalidInput: it is no JSON at all.
            Overloaded: `held` may not grow by its size.
        """
        headers = Headers(scope=scope)
        content = await self._content(headers, receive, held)
        if not content:
            return [Violation("body", "", "is required")] if self._required else []
        _check_type(headers)
        if sum(map(content.count, _MARKS)) > self._marks_max:
            return [Violation("body", "", "must not hold that many lists, objects and members")]
        body = _parsed(content)
        violations = self._checker.violations(body, "body")
        if not violations:
            arguments["body"] = body
        return violations

    async def _content(self, headers: Headers, receive: Receive, held: HeldBody) -> bytes:
        declared = headers.get("content-length", "")
        # Its first digits tell enough, and Python refuses to read thousands of them.
        if declared.isdecimal() and int(declared[:20]) > self._bytes_max:
            raise self._too_large()
        content = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            if len(content) + len(part) > self._bytes_max:
                raise self._too_large()
            held.grow(len(part))
            content += part
            more = message.get("more_body", False)
        return bytes(content)

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"The request body must not be larger than {self._bytes_max} bytes.")


def _check_type(headers: Headers) -> None:
    """Refuse what is really something else; a body without a type is taken for what the operation expects."""
    given = headers.getlist("content-type")
    if not given:
        return
    json = all(map(_is_json, given))
    if len(given) > 1 or not json or _encodings(headers) - {"identity"}:
        raise HTTPException(415, "The request body must be application/json in UTF-8, without a content encoding.")


def _is_json(media_type: str) -> bool:
    """Tell whether a Content-Type is JSON in UTF-8.

    The parser of the standard library is one for e-mail: 60,000 semicolons keep it busy for a second, and some charsets
    in parts, as RFC 2231 has them, make it fail.
    """
    essence, *parameters = (part.strip().lower() for part in media_type.split(";"))
    charsets = [parameter.partition("=")[2].strip() for parameter in parameters if parameter.startswith("charset")]
    return essence == _MEDIA_TYPE and all(charset in _CHARSETS for charset in charsets)


def _encodings(headers: Headers) -> set[str]:
    return {encoding.strip().lower() for given in headers.getlist("content-encoding") for encoding in given.split(",")}


def _parsed(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        violation = Violation("body", "", f"must be JSON in UTF-8; it stops being so at {place}")
        raise InvalidInput("The request body is not valid JSON.", [violation]) from None
