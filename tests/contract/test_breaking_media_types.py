"""Changes of media types that break clients: see tests/contract/breaking.py."""

from copy import deepcopy
from typing import Any

import pytest

from tests.contract.breaking import Effect, compare
from tests.contract.sample_api import contract, operation

_TEXT = {"schema": {"type": "string"}}
_JSON = {"schema": {"type": "object"}}
_CONTENT = {"application/json": _JSON, "text/csv": {**_TEXT, "x-max-bytes": 100}}


def _document(request: Any, response: Any) -> Any:
    body = {"required": True, "content": request}
    responses = {"200": {"description": "Done.", "content": response}}
    return contract({"/codes": {"post": operation(requestBody=body, responses=responses)}})


def _changes(changed: Any) -> set[tuple[str, Effect]]:
    return {(change.kind, change.effect) for change in compare(_document(_CONTENT, _CONTENT), changed)}


def _limited(size: int) -> Any:
    return {**_CONTENT, "text/csv": {**_TEXT, "x-max-bytes": size}}


@pytest.mark.parametrize(
    ("changed", "kind", "effect"),
    [
        ({"application/json": _JSON}, "media type", Effect.WIRE),
        (_limited(99), "x-max-bytes", Effect.WIRE),
        ({**_CONTENT, "application/json": {**_JSON, "x-max-bytes": 9}}, "x-max-bytes", Effect.WIRE),
        ({**_CONTENT, "text/csv": {"schema": {"type": "string", "maxLength": 5}}}, "maxLength", Effect.WIRE),
        (dict(reversed(_CONTENT.items())), "first media type", Effect.SOURCE),
        (_limited(101), "x-max-bytes", Effect.NONE),
        ({**_CONTENT, "text/csv": _TEXT}, "x-max-bytes", Effect.NONE),
        ({**_CONTENT, "application/x-ndjson": _TEXT}, "media type", Effect.NONE),
    ],
)
def test_changes_of_a_request(changed: Any, kind: str, effect: Effect) -> None:
    """A request that takes fewer media types or bytes breaks clients in use, another first type generated code."""
    changes = _changes(_document(changed, _CONTENT))
    assert (kind, effect) in changes
    assert max(each for _, each in changes) == effect


@pytest.mark.parametrize(
    ("changed", "kind", "effect"),
    [
        ({"application/json": _JSON}, "media type", Effect.WIRE),
        (dict(reversed(_CONTENT.items())), "first media type", Effect.SOURCE),
        ({**_CONTENT, "application/x-ndjson": _TEXT}, "media type", Effect.NONE),
    ],
)
def test_changes_of_a_response(changed: Any, kind: str, effect: Effect) -> None:
    """A response with fewer media types breaks clients in use, another first type generated code."""
    changes = _changes(_document(_CONTENT, changed))
    assert changes == {(kind, effect)}


def test_same_document() -> None:
    """Nothing is reported without a change."""
    document = _document(_CONTENT, _CONTENT)
    assert compare(document, deepcopy(document)) == []
