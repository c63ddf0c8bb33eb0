"""The Markdown pages of the repository, for tests that compare them with the code."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted(str(file.relative_to(ROOT)) for file in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))


@cache
def page(name: str) -> str:
    """Return the text of a page, by its path from the root of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def tables(name: str, first_column: str) -> list[list[str]]:
    """Return the rows of all tables of a page whose first column has this heading."""
    found = re.findall(rf"^\| {re.escape(first_column)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", page(name), re.MULTILINE)
    assert found, f"{name} has no table with the first column {first_column}"
    return [[cell.strip() for cell in row.strip("|").split(" |")] for rows in found for row in rows.splitlines()]


def code(name: str, label: str) -> str:
    """Return the code block of a page with this label, the words after the backticks."""
    found = re.search(rf"^```{re.escape(label)}\n(.*?)^```", page(name), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{name} has no code block {label}"
    return found[1]


def anchors(name: str) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", page(name), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
