"""ETag and If-None-Match (RFC 9110, 8.8.3 and 13.1.2).

An entity tag is `"<digest of the response>"`, or `"<version>.<digest>"` if the handler returns a version in the header
ETag. The version changes with what clients can change, the digest also with counters. If-None-Match compares the whole
tag; handlers compare If-Match with the version. The tag of a response that may be compressed is weak.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

# The argument of a call that is not for handlers.
_IF_NONE_MATCH = "if_none_match"
_ETAG, _CACHE_CONTROL = "ETag", "Cache-Control"
_DIGEST_CHARS = 32
_TAG = re.compile(r'"[^"]*"')


class Validators(NamedTuple):
    """What an operation says about caches: whether its response has an entity tag, and its Cache-Control, if any."""

    has_tag: bool
    is_weak: bool
    cache_control: str | None

    @classmethod
    def of(cls, operation: Mapping[str, Any]) -> "Validators":
        """Read the headers of the successful response."""
        successes = [each for status, each in operation["responses"].items() if status.startswith("2")]
        headers: Mapping[str, Any] = successes[0].get("headers", {}) if successes else {}
        cache_control = headers[_CACHE_CONTROL]["schema"]["enum"][0] if _CACHE_CONTROL in headers else None
        return cls(_ETAG in headers, operation.get("x-compress", False), cache_control)

    def add_to(self, headers: Mapping[str, str], content: bytes) -> Mapping[str, str]:
        """Add the entity tag and Cache-Control to the headers of a response."""
        headers = self.without_tag(headers)
        return {**headers, _ETAG: self._tag(content, headers)} if self.has_tag else headers

    def without_tag(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Add Cache-Control only."""
        return headers if self.cache_control is None else {**headers, _CACHE_CONTROL: self.cache_control}

    def _tag(self, content: bytes, headers: Mapping[str, str]) -> str:
        # X-Total-Count can change although the page does not.
        digest = sha256(content)
        digest.update(headers.get("X-Total-Count", "").encode())
        parts = [part for part in (headers.get(_ETAG), digest.hexdigest()[:_DIGEST_CHARS]) if part]
        return f'{"W/" if self.is_weak else ""}"{".".join(parts)}"'


def take_if_none_match(arguments: dict[str, Any]) -> str | None:
    """Remove If-None-Match from the arguments for the handler, and return it."""
    value: str | None = arguments.pop(_IF_NONE_MATCH, None)
    return value


def is_unchanged(headers: Mapping[str, str], if_none_match: str | None) -> bool:
    """Return whether the client has the response; the comparison is weak."""
    if if_none_match is None or _ETAG not in headers:
        return False
    return if_none_match == "*" or headers[_ETAG].removeprefix("W/") in _TAG.findall(if_none_match)
