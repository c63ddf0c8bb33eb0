"""Habits of the source that can be seen in it: names, sizes, docstrings, and what is forbidden."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.source import ROOT, called, files, functions, public_definitions, tree
from tests.unit.test_architecture import QUERIES

VERBS = ("find_", "get_", "list_", "insert_", "update_", "delete_", "claim_", "close_", "count_")
QUERY_MODULES = [f"persistence.{name}" for name in QUERIES]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
# Load at a fixed rate, and memory some seconds after it: here the time itself is what is measured.
PACED = ["tests/bench/overload.py", "tests/bench/overload_abusers.py"]
OURS = [file for file in TESTS if file.parent.name in ("unit", "contract") and file.name.startswith("test_")]


def _operation_ids() -> set[str]:
    paths = yaml.safe_load((ROOT / "api.yml").read_text(encoding="utf-8"))["paths"]
    return {operation["operationId"] for methods in paths.values() for operation in methods.values()}


OPERATION_MODULES = sorted({f"handlers.{name.partition('.')[0]}" for name in _operation_ids()})


# How much is told at once, which cuts and does not refuse.
PAGES = {("handlers.shapes", "_PAGE_MAX = 100")}
BESIDE = ["handlers.accounts", "handlers.idempotency", "handlers.shapes"]


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("module", files())
def test_public_things_say_what_they_do(module: str) -> None:
    """Every module and every public function, class and method has a docstring of its own."""
    assert ast.get_docstring(tree(module))
    silent = [name for name, node in public_definitions(module) if not ast.get_docstring(node)]
    assert silent == []


@pytest.mark.parametrize("module", files())
def test_functions_are_short(module: str) -> None:
    """A function has at most 50 lines."""
    long = [node.name for node in functions(module) if (node.end_lineno or 0) - node.lineno + 1 > 50]
    assert long == []


@pytest.mark.parametrize("file", [*files().values(), *TESTS], ids=_name)
def test_files_are_short(file: Path) -> None:
    """A file has at most 400 lines."""
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("file", [*files().values(), *TESTS], ids=_name)
def test_files_have_names_that_say_something(file: Path) -> None:
    """No file is named for nothing in particular."""
    assert file.stem not in {"utils", "util", "helpers", "common", "base", "misc", "core", "manager", "service"}


def test_every_operation_has_its_function() -> None:
    """An operationId is the way to a function, and a public function in a module of operations is an operation."""
    there = {
        f"{module.removeprefix('handlers.')}.{name}"
        for module in OPERATION_MODULES
        for name, node in public_definitions(module)
        if isinstance(node, ast.FunctionDef)
    }
    assert there == _operation_ids()


def test_modules_of_handlers_are_all_known() -> None:
    """Beside the modules of operations stand shapes, accounts and repeats, and no other one."""
    assert {module for module in files() if module.startswith("handlers")} == {"handlers", *OPERATION_MODULES, *BESIDE}


@pytest.mark.parametrize("module", QUERY_MODULES)
def test_queries_are_verbs_of_a_closed_set(module: str) -> None:
    """What a query does to the database is the first word of its name."""
    names = [name.rpartition(".")[2] for name, node in public_definitions(module) if not isinstance(node, ast.ClassDef)]
    assert names
    assert [name for name in names if not name.startswith(VERBS)] == []


@pytest.mark.parametrize("module", QUERY_MODULES)
def test_queries_end_no_transaction(module: str) -> None:
    """Where a transaction begins and ends is the caller's to say."""
    assert {"commit", "rollback", "begin", "begin_nested", "connect"} & {*called(tree(module))} == set()


@pytest.mark.parametrize("module", QUERY_MODULES)
def test_rows_leave_as_frozen_dataclasses(module: str) -> None:
    """Every class of rows is a frozen dataclass."""
    for _, node in public_definitions(module):
        if isinstance(node, ast.ClassDef) and any(isinstance(part, ast.AnnAssign) for part in node.body):
            assert [ast.unparse(decorator) for decorator in node.decorator_list] == ["dataclass(frozen=True)"]


def _blocks_with_a_connection() -> Iterator[tuple[str, ast.With]]:
    for module in files():
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.With) and {"autocommit", "transaction"} & {
                name for item in node.items for name in called(item.context_expr)
            }:
                yield module, node


def test_nothing_slow_is_done_on_a_connection() -> None:
    """While a connection is held, no password is hashed and no other service is asked."""
    blocks = [(module, block) for module, block in _blocks_with_a_connection() if module.startswith("handlers.")]
    assert len(blocks) > 10
    for module, block in blocks:
        held = {node.attr for node in ast.walk(block) if isinstance(node, ast.Attribute)}
        assert {"passwords", "antifraud", "allows", "hash", "verify", "renewed"} & held == set(), module


def test_no_connection_is_taken_on_another() -> None:
    """Who holds a connection asks for no second one: enough of them at once would wait for each other for ever."""
    for module, block in _blocks_with_a_connection():
        inner = [name for statement in block.body for name in called(statement)]
        assert {"autocommit", "transaction"} & {*inner} == set(), module


def _limits(schema: Any) -> Iterator[int]:
    keywords = {"minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"}
    if isinstance(schema, dict):
        yield from (value for name, value in schema.items() if name in keywords and isinstance(value, int))
        schema = [*schema.values()]
    if isinstance(schema, list):
        for part in schema:
            yield from _limits(part)


@pytest.mark.parametrize("module", [*OPERATION_MODULES, *BESIDE, *QUERY_MODULES])
def test_limits_stand_in_the_contract_alone(module: str) -> None:
    """No limit of api.yml is copied into Python, but for the length of a page, which cuts and does not refuse."""
    limits = {limit for limit in _limits(yaml.safe_load((ROOT / "api.yml").read_text(encoding="utf-8"))) if limit > 1}
    assert 5000 in limits
    for node in tree(module).body:
        if (module, ast.unparse(node)) in PAGES:
            continue
        found = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and type(part.value) is int}
        assert found & limits == set()


@pytest.mark.parametrize("module", files())
def test_nothing_is_global_that_changes(module: str) -> None:
    """No function writes a variable of its module."""
    assert not [node for node in ast.walk(tree(module)) if isinstance(node, ast.Global)]


@pytest.mark.parametrize("file", [file for file in TESTS if file.relative_to(ROOT).as_posix() not in PACED], ids=_name)
def test_tests_do_not_sleep(file: Path) -> None:
    """A test waits for what must happen, and not for some time in which it should."""
    assert "sleep" not in {*called(ast.parse(file.read_text(encoding="utf-8")))}


@pytest.mark.parametrize("file", OURS, ids=_name)
def test_tests_say_what_they_hold(file: Path) -> None:
    """Every test has a docstring, and something that can fail."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            assert ast.get_docstring(node), node.name
            claims = any(isinstance(part, ast.Assert) for part in ast.walk(node))
            assert claims or [name for name in called(node) if "assert" in name or name == "raises"], node.name


def _handlers_of_broad_exceptions(module: str) -> Iterator[ast.ExceptHandler]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ExceptHandler) and (node.type is None or "BaseException" in ast.unparse(node.type)):
            yield node


@pytest.mark.parametrize("module", [name for name in files() if not name.startswith("promo_api.sandbox")])
def test_no_exception_is_swallowed_unseen(module: str) -> None:
    """Nobody catches everything."""
    assert [*_handlers_of_broad_exceptions(module)] == []
