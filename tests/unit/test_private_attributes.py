"""Private attributes of other libraries: all are listed here, each is used in one module, and the library is bounded.

A minor version may change a private attribute. So the list is short, and setup.cfg bounds the version of each library.
"""

import ast
import configparser
import inspect
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from textwrap import dedent

import pytest

from tests.unit.source import PACKAGES, ROOT, files, tree

# By distribution: each private attribute and the one module that uses it.
USED = {
    "connexion": {
        "_build_middleware_stack": "promo_api.contract.application",
        "_middleware_app": "promo_api.contract.application",
        "_operation": "promo_api.contract.handler_resolver",
    },
    "uvicorn": {
        "_start_asgi_task": "promo_api.server.pipelining",
        "_unset_keepalive_if_required": "promo_api.server.pipelining",
        "_wait_tasks_to_complete": "promo_api.server.graceful_stop",
    },
    "uvicorn-worker": {"_serve": "promo_api.server.gunicorn_app"},
}
# Documented although the name begins with an underscore.
DOCUMENTED = {"_mapping", "_asdict", "_replace", "_fields"}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def _is_own(node: ast.expr) -> bool:
    """Return whether an expression is `self`, `cls` or `super()`."""
    name = node.func if isinstance(node, ast.Call) else node
    return isinstance(name, ast.Name) and name.id in ("self", "cls", "super")


def _defined(node: ast.AST) -> Iterator[str]:
    """Yield the private names that code defines: functions, variables, and attributes of `self`."""
    for inner in ast.walk(node):
        match inner:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store(), value=value) if _is_own(value):
                yield name


OURS = {name for module in files() for name in _defined(tree(module))}


def _read_from_objects(module: str) -> Iterator[str]:
    """Yield private attributes of objects other than `self` that none of our classes defines."""
    for node in ast.walk(tree(module)):
        match node:
            case ast.Attribute(attr=name, value=value) if not _is_own(value) and _is_private(name) and name not in OURS:
                yield name
            case ast.Call(func=ast.Name(id="getattr" | "setattr"), args=[_, ast.Constant(value=str(name)), *_]) if (
                _is_private(name)
            ):
                yield name


def _imported(module: str) -> Iterator[str]:
    """Yield private modules and names that are imported from other libraries."""
    for node in ast.walk(tree(module)):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            first, *rest = name.split(".")
            if first not in {*PACKAGES, "__future__"} and any(_is_private(part) for part in rest):
                yield name


def _inherited(module: str) -> Iterator[str]:
    """Yield private attributes of base classes of other libraries that a class of ours overrides or reads."""
    classes = [node for node in tree(module).body if isinstance(node, ast.ClassDef) and node.bases]
    for node in classes:
        bases = [base for base in getattr(import_module(module), node.name).__mro__ if _is_third_party(base)]
        theirs = {name for base in bases for name in _private_names(base)}
        used = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute) and _is_own(each.value)}
        overridden = {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        yield from theirs & (used | overridden)


def _is_third_party(base: type) -> bool:
    return base.__module__.partition(".")[0] not in {*PACKAGES, *sys.stdlib_module_names}


def _private_names(base: type) -> set[str]:
    names = {*vars(base)}
    with suppress(TypeError, OSError):  # written in C
        names |= {*_defined(ast.parse(dedent(inspect.getsource(base))))}
    return {name for name in names if _is_private(name)}


def _found() -> set[tuple[str, str]]:
    return {
        (name, module)
        for module in files()
        for find in (_read_from_objects, _imported, _inherited)
        for name in find(module)
    }


def test_private_attributes_are_listed() -> None:
    """The list has every private attribute of other libraries that the code uses, each with its only module."""
    assert _found() == {(name, module) for names in USED.values() for name, module in names.items()}


def _requirements() -> dict[str, str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = [line for line in config["options"]["install_requires"].splitlines() if line and not line.startswith("#")]
    return {line.partition("[")[0].partition(">")[0]: line for line in lines}


@pytest.mark.parametrize("library", USED)
def test_library_has_an_upper_bound(library: str) -> None:
    """A library whose private attributes are used has an upper bound in setup.cfg."""
    assert ",<" in _requirements()[library]
