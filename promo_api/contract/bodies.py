"""The body of a request: read once, up to a limit, and parsed once."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from promo_api.contract.pruning import marks_max
from promo_api.contract.schemas import compile_schema
from promo_api.errors import InvalidInput, Violation

_BODY_MAX_BYTES = 2 * 1024 * 1024
_MEDIA_TYPE = "application/json"
# Each list and object of JSON begins with one of them, and each member has one.
_MARKS = (b"[", b"{", b":")
# So many marks too many are let through, to be told of by what is wrong with the value.
_MARKS_SURPLUS = 1000
_CHARSETS = ("utf-8", "utf8", "us-ascii", '"utf-8"', '"utf8"', '"us-ascii"')


class JsonBody:
    """The body of an operation, as api.yml declares it."""

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self._required: bool = declared.get("required", False)
        schema = declared["content"][_MEDIA_TYPE]["schema"]
        self._checker = compile_schema(schema)
        self._marks_max = marks_max(schema) + _MARKS_SURPLUS

    async def read(self, scope: Scope, receive: Receive, arguments: dict[str, Any]) -> list[Violation]:
        """Put the body into the arguments, and return what is wrong with it.

        Raises:
            HTTPException: 413, it is too large; 415, it is something else than JSON in UTF-8.
            InvalidInput: it is no JSON at all.
        """
        headers = Headers(scope=scope)
        content = await _read(headers, receive)
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


async def _read(headers: Headers, receive: Receive) -> bytes:
    declared = headers.get("content-length", "")
    # Its first digits tell enough, and Python refuses to read thousands of them.
    if declared.isdecimal() and int(declared[:20]) > _BODY_MAX_BYTES:
        raise _too_large()
    content = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        content += message.get("body", b"")
        more = message.get("more_body", False)
        if len(content) > _BODY_MAX_BYTES:
            raise _too_large()
    return bytes(content)


def _too_large() -> HTTPException:
    return HTTPException(413, f"The request body must not be larger than {_BODY_MAX_BYTES} bytes.")


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
