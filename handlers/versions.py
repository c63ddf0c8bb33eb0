"""Versions of resources: digests of the members that clients can change.

`versioned` adds the version to the entity tag of a response, and `check_version` compares it with If-Match. So a change
of a counter does not fail the change of a client that has read the resource before.
"""

import re
from collections.abc import Callable, Sequence
from functools import wraps
from hashlib import sha256
from typing import Any

import orjson

from handlers import Body, Headers
from promo_api.errors import PreconditionFailed

# None: any version.
Versions = frozenset[str] | None

_VERSION_CHARS = 16
_TAG = re.compile(r'(W/)?"([^".]*)[^"]*"')


def versioned(members: Sequence[str]) -> Callable[[Callable[..., Any]], Callable[..., tuple[Body, int, Headers]]]:
    """Add the version of these members to the response of a handler."""

    def decorate(handler: Callable[..., Any]) -> Callable[..., tuple[Body, int, Headers]]:
        @wraps(handler)
        def respond(*arguments: Any, **request: Any) -> tuple[Body, int, Headers]:
            result = handler(*arguments, **request)
            body, status, headers, *_ = (*result, {}) if isinstance(result, tuple) else (result, 200, {})
            return body, status, {**headers, "ETag": _version(body, members)}

        return respond

    return decorate


def read_if_match(if_match: str | None) -> Versions:
    """Return the versions in If-Match, without those of weak tags (RFC 9110, 13.1.1)."""
    if if_match is None or if_match == "*":
        return None
    return frozenset(version for weak, version in _TAG.findall(if_match) if not weak)


def check_version(versions: Versions, body: Body, members: Sequence[str]) -> None:
    """Raise PreconditionFailed if the resource has another version."""
    if versions is not None and _version(body, members) not in versions:
        raise PreconditionFailed.changed()


def _version(body: Body, members: Sequence[str]) -> str:
    return sha256(orjson.dumps([body.get(name) for name in members])).hexdigest()[:_VERSION_CHARS]
