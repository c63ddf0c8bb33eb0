"""docs/deployment.md, whose commands and configurations the tests use as they are written."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

PAGE = (Path(__file__).parents[1] / "docs" / "deployment.md").read_text(encoding="utf-8")


def block(name: str, changes: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return what stands in a block, which goes by its language and its name, with other places in it.

    Args:
        name: as it stands behind the backticks.
        changes: what is put in the place of what is written, and is written indeed.
    """
    found = re.search(rf"^```{re.escape(name)}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no block is called {name}"
    text = found[1]
    for written, other in changes.items():
        assert written in text, f"{written} is not in the block {name}"
        text = text.replace(written, other)
    return text
