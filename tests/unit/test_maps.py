"""The docstring of a package maps its modules: a table with one row for each, or for a few that belong together."""

import ast
import re

from tests.unit.source import files, tree

# The docstring of migrations needs no map: Alembic runs its only module.
PACKAGES = [module for module, file in files().items() if file.name == "__init__.py"]
PACKAGES.remove("persistence.migrations")


def _mapped(package: str) -> list[str]:
    """Return the names in the first column of the table of modules, without its header."""
    docstring = ast.get_docstring(tree(package)) or ""
    cells = re.findall(r"^\| ([^|]+) \|", docstring, re.MULTILINE)
    assert cells[:1] == ["Module"], f"{package} has no map"
    return [name for cell in cells[1:] for name in cell.split(", ")]


def _contents(package: str) -> list[str]:
    """Return the names of the modules of a package, and of its packages with a slash."""
    children = [module for module in files() if module.rpartition(".")[0] == package]
    return [
        f"{child.rpartition('.')[2]}/" if files()[child].name == "__init__.py" else child.rpartition(".")[2]
        for child in children
    ]


def test_maps_name_exactly_the_modules() -> None:
    """The map of a package names each of its modules and packages once, and nothing else."""
    assert len(PACKAGES) > 10
    maps = {package: sorted(_mapped(package)) for package in PACKAGES}
    assert maps == {package: sorted(_contents(package)) for package in PACKAGES}
