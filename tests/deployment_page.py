"""Commands and configurations of docs/deployment.md, which the tests use as written."""

from collections.abc import Mapping
from types import MappingProxyType

from tests.pages import code


def block(name: str, changes: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a code block.

    Args:
        name: language and name of the block, as they follow the backticks.
        changes: replacements; each replaced text must occur in the block.
    """
    text = code("docs/deployment.md", name)
    for written, other in changes.items():
        assert written in text, f"{written} is not in the block {name}"
        text = text.replace(written, other)
    return text
