"""The modules of the project as syntax trees: their imports, definitions and calls."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("promo_api", "handlers", "persistence")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@cache
def files() -> dict[str, Path]:
    """Return the files of the packages by module name, without the migrations, which Alembic runs by path."""
    found = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    return {_module_name(file): file for file in found if file.parent.name != "versions"}


def _module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(module: str) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(files()[module].read_text(encoding="utf-8"))


def imported(module: str, *, at_top: bool = False) -> set[str]:
    """Return the imports of a module: full names of our modules, top-level names of other packages.

    Args:
        module: the module to read.
        at_top: ignore imports inside functions and classes.
    """
    nodes = tree(module).body if at_top else ast.walk(tree(module))
    return {_module_of(name) for node in nodes for name in _names(node)} - {"__future__"}


def imported_names(module: str, origin: str) -> set[str]:
    """Return the names that a module imports from another module."""
    return {
        alias.name
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom) and node.module == origin
        for alias in node.names
    }


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a statement imports: `a.b` for `from a import b`, because b may be a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_of(name: str) -> str:
    """Return the module that defines a dotted name."""
    if name.partition(".")[0] not in PACKAGES:
        return name.partition(".")[0]
    while name not in files():
        name = name.rpartition(".")[0]
    return name


def public_definitions(module: str) -> Iterator[tuple[str, Definition]]:
    """Yield the public functions and classes of a module, and the public methods of these classes."""
    for name, node in _definitions(tree(module).body):
        yield name, node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{name}.{inner}", method) for inner, method in _definitions(node.body))


def _definitions(body: list[ast.stmt]) -> Iterator[tuple[str, Definition]]:
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node.name, node


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a module, including private and nested functions."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def called(node: ast.AST) -> Iterator[str]:
    """Yield the names of the functions and methods that a node calls, at any depth."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            if isinstance(call.func, ast.Attribute):
                yield call.func.attr
            elif isinstance(call.func, ast.Name):
                yield call.func.id
