"""The tables of docs/configuration.md, made from the settings; `python -m tests.settings_table` updates the page."""

import re
import sys
from dataclasses import MISSING, Field, fields
from typing import Any

from promo_api.config.settings import Settings, variable
from promo_api.config.values import LogFormat, Rate
from tests.pages import ROOT, page

PAGE = "docs/configuration.md"
_ROW = re.compile(r"^\| ([A-Z][A-Z0-9_]+) \| [^|]* \| ([^|]*?) ?\| [^|]* \|$", re.MULTILINE)


def rows() -> dict[str, str]:
    """Return the expected row of each setting, by its name; bounds of texts are taken from the page."""
    bounds = dict(_ROW.findall(page(PAGE)))
    return {variable(each): _row(each, bounds.get(variable(each), "")) for each in fields(Settings)}


def listed() -> dict[str, str]:
    """Return the rows that are in the page, by the name of the setting."""
    return {match[1]: match[0] for match in _ROW.finditer(page(PAGE))}


def _row(declared: Field[Any], bounds: str) -> str:
    default = "empty" if declared.default in ("", None) else f"`{declared.default}`"
    if declared.default is MISSING:
        default = "required"
    metadata = declared.metadata
    if declared.type in (int, float):
        bounds = f"{metadata['low']:g}..{metadata['high']:.15g} {metadata['unit']}".strip()
    elif isinstance(declared.default, Rate):
        bounds = "times/seconds, or 0"
    elif isinstance(declared.default, LogFormat):
        bounds = "json, text or dev"
    return f"| {variable(declared)} | {default} | {bounds} | {metadata['sentence']} |".replace("|  |", "| |")


def main() -> None:
    """Update the rows of the page, and print the settings that have none yet."""
    expected = rows()
    text = _ROW.sub(lambda match: expected.get(match[1], ""), page(PAGE))
    (ROOT / PAGE).write_text(text, encoding="utf-8")
    for name in expected.keys() - listed().keys():
        sys.stdout.write(f"{expected[name]}\n")


if __name__ == "__main__":
    main()
