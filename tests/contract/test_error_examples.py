"""The error messages in api.yml's examples are the messages of the server.

The messages are collected from the source: every string constant, with a placeholder for each value that is put in.
"""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.specification import specification
from tests.unit.source import files, tree

# A template needs some fixed words, or it would match any message.
_MIN_FIXED_CHARS = 8
_DOCUMENT = specification()


def _templates() -> Iterator[str]:
    for module in files():
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
    for name, value in _members(_DOCUMENT):
        if name == "x-violation":
            yield from [value] if isinstance(value, str) else [entry["message"] for entry in value]


def _members(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield every member of every object, with its name."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield str(name), value
        yield from _members(value)


def _pattern(template: str) -> str:
    pattern = r"\S+".join(map(re.escape, re.split(r"\{\w*\}", template)))
    # A reason at the end can be a sentence.
    return re.sub(r":\\ \\S\+$", r":\\ .+", pattern)


TEMPLATES = {each for each in _templates() if len(re.sub(r"\{\w*\}", "", each)) >= _MIN_FIXED_CHARS}
MESSAGES = re.compile("|".join(map(_pattern, sorted(TEMPLATES))))
# The schemas `ErrorBody` and `Violation` have a `message`, a dependency in `Health` has a `reason`.
EXAMPLES = sorted(
    {value for name, value in _members(_DOCUMENT) if name in ("message", "reason") and isinstance(value, str)}
    - set(_DOCUMENT["components"]["schemas"]["ReportReason"]["enum"])
)
EXAMPLES += [each for name, value in _members(_DOCUMENT) if name == "warnings" for each in value if value == [each]]
EXAMPLES += [
    _DOCUMENT["components"]["schemas"][schema]["properties"][name]["example"]
    for schema, name in (("ErrorBody", "message"), ("Violation", "message"), ("DependencyHealth", "reason"))
]
EXAMPLES.append(_DOCUMENT["components"]["schemas"]["Health"]["properties"]["warnings"]["items"]["example"])


def test_every_error_has_an_example() -> None:
    """Every error response of api.yml has an example with a message."""
    responses = _DOCUMENT["components"]["responses"]
    for response in [each for name, each in responses.items() if name != "NotModified"]:
        references = [
            each["$ref"].split("/")[-1] for each in response["content"]["application/json"]["examples"].values()
        ]
        assert references
        assert all(_DOCUMENT["components"]["examples"][name]["value"]["message"] in EXAMPLES for name in references)


@pytest.mark.parametrize("message", EXAMPLES)
def test_server_can_send_the_message(message: str) -> None:
    """The server can send the message of the example, word by word."""
    assert MESSAGES.fullmatch(message)


@pytest.mark.parametrize("message", ["The request body is too large.", "must be at least 5 characters long", "Hello."])
def test_unknown_message_is_detected(message: str) -> None:
    """A message that the server does not send is recognised."""
    assert not MESSAGES.fullmatch(message)
