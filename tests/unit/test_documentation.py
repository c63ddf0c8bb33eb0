"""What is written for people is what the program does."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

from promo_api.__main__ import _COMMANDS
from promo_api.settings import Settings, SettingsError, variable
from tests.deployment_page import PAGE
from tests.operations import OPERATIONS

_ROOT = Path(__file__).parents[2]
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
_EXAMPLE = (_ROOT / ".env.example").read_text(encoding="utf-8")


def _rows(first_column: str) -> list[list[str]]:
    table = re.search(rf"^\| {first_column} .*\n\|[-|]+\n((?:\|.*\n)+)", _README, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[1].splitlines()]


def test_settings_table_is_the_settings() -> None:
    """The README lists each setting with its default and sentence, in order."""
    expected = [
        [
            variable(declared),
            "required"
            if declared.default is MISSING
            else f"`{declared.default}`"
            if declared.default not in ("", None)
            else "empty",
            declared.metadata["sentence"],
        ]
        for declared in fields(Settings)
    ]
    assert [[row[0], row[1], row[3]] for row in _rows("Setting")] == expected


def test_settings_table_names_bounds() -> None:
    """Each number in the README's table has the bounds that are enforced."""
    numbers = {variable(declared): declared for declared in fields(Settings) if declared.type in (int, float)}
    for name, _, bounds, _ in _rows("Setting"):
        if name in numbers:
            low, high = re.split(r"\.\.", bounds.split(" ")[0])
            metadata = numbers[name].metadata
            assert (float(low), float(high)) == (metadata["low"], metadata["high"]), name


def test_endpoints_table_is_the_contract() -> None:
    """The README lists each operation of api.yml with its summary."""
    listed = {row[1]: row[3] for row in _rows("Request")}
    assert listed == {each.id: each.declared["summary"] for each in OPERATIONS}


def test_example_names_settings() -> None:
    """.env.example names settings only, and is complete but for the secrets that nobody should copy."""
    given = dict(line.split("=", 1) for line in _EXAMPLE.splitlines() if line and not line.startswith("#"))
    assert given.keys() <= {variable(declared) for declared in fields(Settings)}
    try:
        Settings.from_environment(given)
    except SettingsError as error:
        problems = error.problems
    assert [problem.split()[0] for problem in problems] == ["SECRET_KEY"]


def test_deployment_page_names_settings() -> None:
    """What DEPLOYMENT.md says of settings is said of such as there are."""
    settings = {variable(declared) for declared in fields(Settings)}
    prefixes = {name.partition("_")[0] for name in settings}
    named = {
        name for name in re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", PAGE) if name.partition("_")[0] in prefixes
    }
    assert named
    assert named <= settings


def test_deployment_page_leads_somewhere() -> None:
    """The links of DEPLOYMENT.md lead to headings that are there, and each migration is in its table."""
    pages = {"": PAGE, "README.md": _README}
    for page, anchor in re.findall(r"\]\(([A-Za-z.]*)#([a-z-]+)\)", PAGE):
        headings = re.findall(r"^#+ (.*)$", pages[page], re.MULTILINE)
        assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    versions = (_ROOT / "persistence" / "migrations" / "versions").glob("[0-9]*.py")
    table = PAGE.partition("| Migration |")[2].partition("\n\n")[0]
    assert {version.name[:4] for version in versions} == set(re.findall(r"\b[0-9]{4}\b", table))


def test_readme_names_commands() -> None:
    """The README tells of each command."""
    told = set(re.findall(r"python -m promo_api ([a-z-]+)", _README)) | {"dev" if "make run" in _README else ""}
    assert told == set(_COMMANDS)
