"""Handlers that read and return streams."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from promo_api.contract.streams import ClientDisconnected, StreamedBody, StreamedResponse

EVENTS: list[str] = []


def receive(_runtime: object, *_account: object, body: Any, **_arguments: Any) -> dict[str, Any]:
    """Return the size and digest of the body, and its media type."""
    if not isinstance(body, StreamedBody):
        return {"media_type": "application/json", "body": body}
    digest, size, largest = sha256(), 0, 0
    try:
        for chunk in body:
            digest.update(chunk)
            size, largest = size + len(chunk), max(largest, len(chunk))
    except ClientDisconnected:
        EVENTS.append("disconnected")
        raise
    EVENTS.append("received")
    return {"media_type": body.media_type, "size": size, "largest": largest, "sha256": digest.hexdigest()}


def receive_too(runtime: object, *account: object, body: Any) -> dict[str, Any]:
    """Return the same for a second operation."""
    return receive(runtime, *account, body=body)


def ignore(_runtime: object, *, body: StreamedBody) -> dict[str, Any]:
    """Read nothing of the body."""
    return {"media_type": body.media_type}


def send(_runtime: object, *, media_type: str, rows: int = 3, fail_at: int = -1) -> tuple[Any, int, dict[str, str]]:
    """Return rows as JSON or as a stream, which raises at a row."""
    if media_type == "application/json":
        return [*range(rows)], 200, {"X-Total-Count": str(rows)}
    return StreamedResponse(media_type, _rows(rows, fail_at)), 200, {"X-Rows": str(rows)}


def send_only(_runtime: object) -> StreamedResponse:
    """Return a stream of the only media type."""
    return StreamedResponse("application/x-ndjson", _rows(2, -1))


def send_only_too(runtime: object) -> StreamedResponse:
    """Return the same for a second operation."""
    return send_only(runtime)


def _rows(rows: int, fail_at: int) -> Iterator[bytes]:
    EVENTS.append("began")
    try:
        for row in range(rows):
            if row == fail_at:
                raise ValueError("a failure that must not be revealed")
            yield b"%d\n" % row
        EVENTS.append("ended")
    finally:
        EVENTS.append("closed")
