"""Cursors: the position of a page in a list, as opaque text.

A cursor is the key of the last entry and a tag, in base64url. The tag is an HMAC of the key and of the list: the
operation, the account and the filters. So a cursor of another list is refused, and no client can choose a key. The keys
of the tags are derived from the secret keys, which sign tokens.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hmac import compare_digest, digest
from typing import Any

import orjson

from promo_api.errors import InvalidInput

_HASH = "sha256"
_TAG_BYTES = 16
# The number changes with the columns of the keys, so that an older cursor is refused.
_PURPOSE = b"cursors 1"


class Cursors:
    """Issues and reads cursors. The first key signs, all verify."""

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._keys = [digest(key.encode(), _PURPOSE, _HASH) for key in secret_keys]

    def of_list(self, operation_id: str, *bounds: object) -> "ListCursors":
        """Return the cursors of one list. `bounds` are the account and the filters: all parameters but the limit."""
        return ListCursors(self._keys, [operation_id, *bounds])


class ListCursors:
    """The cursors of one list."""

    def __init__(self, keys: Sequence[bytes], bounds: Sequence[object]) -> None:
        self._keys = keys
        self._bounds = bounds

    def issue(self, key: Sequence[object] | None) -> str | None:
        """Return the cursor for the entries that follow a key; None if there are none."""
        if key is None:
            return None
        position = orjson.dumps(key)
        return _encode(self._tag(self._keys[0], position) + position)

    def read(self, cursor: str | None) -> tuple[Any, ...] | None:
        """Return the key, with dates and ids as texts; None: no cursor. Raise InvalidInput if it is not valid."""
        if cursor is None:
            return None
        signed = _decode(cursor)
        tag, position = signed[:_TAG_BYTES], signed[_TAG_BYTES:]
        if not any(compare_digest(tag, self._tag(key, position)) for key in self._keys):
            raise _invalid()
        return tuple(orjson.loads(position))

    def _tag(self, key: bytes, position: bytes) -> bytes:
        signed = orjson.dumps([self._bounds, position.decode()], option=orjson.OPT_SORT_KEYS)
        return digest(key, signed, _HASH)[:_TAG_BYTES]


def _encode(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(cursor: str) -> bytes:
    """Return the bytes of a cursor, if it is spelled as issued."""
    try:
        content = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        content[_TAG_BYTES:].decode()
    except ValueError:
        raise _invalid() from None
    if _encode(content) != cursor:
        raise _invalid()
    return content


def _invalid() -> InvalidInput:
    return InvalidInput.query(
        "/cursor",
        "is not a cursor of this list: send one that a page of it returned, with the same parameters",
        code="invalid_cursor",
    )
