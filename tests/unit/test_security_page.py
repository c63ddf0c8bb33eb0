"""Each guarantee in docs/security.md names tests that exist."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.cases import all_cases
from tests.unit.source import ROOT

_PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
# The parts of the ASVS that apply to a service without files.
_PARTS = {f"V{number}" for number in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14)}


def _table(heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading."""
    match = re.search(
        rf"^## {re.escape(heading)}\n(?:(?!\|).*\n)*\|.*\|\n\|[-|]+\n((?:\|.*\|\n)+)", _PAGE, re.MULTILINE
    )
    assert match is not None, heading
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in match[1].splitlines()]


TABLES = {
    heading: _table(heading)
    for heading in (
        "Guarantees",
        "OWASP API Security Top 10 (2023)",
        "OWASP ASVS 4.0",
    )
}
ROWS = [row for rows in TABLES.values() for row in rows]


@cache
def _tests_of(file: Path) -> set[str]:
    """Return the tests of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def _named(cell: str) -> Iterator[tuple[str, str]]:
    """Yield the tests in a cell: the file below tests/, and the function."""
    for name in cell.split(", "):
        match = re.fullmatch(r"`([a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", name)
        assert match is not None, f"{name} is not a test"
        yield match[1], match[2]


@all_cases("row", ROWS)
def test_each_guarantee_has_tests(row: list[str]) -> None:
    """Each row has a guarantee and names existing tests, each once."""
    _, guarantee, cell = row
    assert guarantee.endswith(".")
    tests = [*_named(cell)]
    assert len(tests) == len(set(tests)) > 0
    missing = [f"{file}::{name}" for file, name in tests if name not in _tests_of(ROOT / "tests" / file)]
    assert missing == []


def test_top_ten_are_complete() -> None:
    """Each of the ten risks has one row, in order."""
    risks = [risk.partition(",")[0] for risk, _, _ in TABLES["OWASP API Security Top 10 (2023)"]]
    assert risks == [f"API{number}" for number in range(1, 11)]


def test_asvs_chapters_are_complete() -> None:
    """Each chapter of the ASVS that applies has rows, in order, with unique names."""
    names = [name for name, _, _ in TABLES["OWASP ASVS 4.0"]]
    assert len(names) == len(set(names))
    parts = [name.partition(" ")[0] for name in names]
    assert set(parts) == _PARTS
    assert parts == sorted(parts, key=lambda part: int(part.removeprefix("V")))
