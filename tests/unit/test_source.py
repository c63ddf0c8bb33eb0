"""Rules that the source follows: names, sizes, docstrings and forbidden calls. Each test lists all offenders."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.operations import OPERATIONS
from tests.specification import specification
from tests.unit.source import ROOT, called, files, functions, public_definitions, tree
from tests.unit.test_architecture import QUERIES

VERBS = ("find_", "get_", "list_", "insert_", "update_", "delete_", "claim_", "close_", "count_")
QUERY_MODULES = [f"persistence.{name}" for name in QUERIES]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
# These send requests at a fixed rate, or measure memory some seconds after a load: the time is what they measure.
PACED = ["tests/bench/overload.py", "tests/bench/overload_abusers.py"]
UNIT_AND_CONTRACT_TESTS = [
    file for file in TESTS if file.parent.name in ("unit", "contract") and file.name.startswith("test_")
]
# These names say nothing about the contents.
EMPTY_NAMES = {"utils", "util", "helpers", "common", "base", "misc", "core", "manager", "service"}
SHARED_BY_HANDLERS = [
    *("handlers.accounts", "handlers.company_locks", "handlers.idempotency", "handlers.pages"),
    "handlers.password_resets",
    *(
        "handlers.promo_changes",
        "handlers.promo_owners",
        "handlers.serializers",
        "handlers.replica_reads",
        "handlers.streamed_rows",
        "handlers.versions",
    ),
]


OPERATION_MODULES = sorted({f"handlers.{each.id.partition('.')[0]}" for each in OPERATIONS})


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def _test_tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def test_public_definitions_have_docstrings() -> None:
    """Every module and every public function, class and method has a docstring."""
    missing = [module for module in files() if not ast.get_docstring(tree(module))]
    for module in files():
        missing += [f"{module}.{name}" for name, node in public_definitions(module) if not ast.get_docstring(node)]
    assert missing == []


def test_functions_are_short() -> None:
    """A function has at most 50 lines."""
    long = [
        f"{module}.{node.name}"
        for module in files()
        for node in functions(module)
        if (node.end_lineno or 0) - node.lineno + 1 > 50
    ]
    assert long == []


def test_files_are_short() -> None:
    """A file has at most 400 lines."""
    sizes = {_name(file): file.read_text(encoding="utf-8").count("\n") for file in (*files().values(), *TESTS)}
    assert {name: size for name, size in sizes.items() if size > 400} == {}


def test_file_names_describe_the_contents() -> None:
    """No file has a name such as `utils`, which fits any contents."""
    assert [_name(file) for file in (*files().values(), *TESTS) if file.stem in EMPTY_NAMES] == []


def test_every_operation_has_its_function() -> None:
    """Each operationId names a function, and each public function of an operation module is an operation."""
    defined = {
        f"{module.removeprefix('handlers.')}.{name}"
        for module in OPERATION_MODULES
        for name, node in public_definitions(module)
        if isinstance(node, ast.FunctionDef)
    }
    assert defined == {each.id for each in OPERATIONS}


def test_modules_of_handlers_are_all_known() -> None:
    """Each module of `handlers` implements operations, or the others share it."""
    known = {"handlers", *OPERATION_MODULES, *SHARED_BY_HANDLERS}
    assert {module for module in files() if module.startswith("handlers")} == known


def test_queries_are_verbs_of_a_closed_set() -> None:
    """The name of a query begins with a verb that says what it does to the database."""
    offenders: list[str] = []
    for module in QUERY_MODULES:
        definitions = [*public_definitions(module)]
        names = [name.rpartition(".")[2] for name, node in definitions if not isinstance(node, ast.ClassDef)]
        offenders += [f"{module}.{name}" for name in names if not name.startswith(VERBS)]
        offenders += [] if names else [f"{module} has no query"]
    assert offenders == []


def test_queries_end_no_transaction() -> None:
    """A query neither begins nor ends a transaction: its caller does."""
    forbidden = {"commit", "rollback", "begin", "begin_nested", "connect"}
    offenders = [f"{module}: {name}" for module in QUERY_MODULES for name in forbidden & {*called(tree(module))}]
    assert offenders == []


def test_rows_leave_as_frozen_dataclasses() -> None:
    """Every class of rows is a frozen dataclass."""
    offenders = [
        f"{module}.{name}"
        for module in QUERY_MODULES
        for name, node in public_definitions(module)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(part, ast.AnnAssign) for part in node.body)
        and [ast.unparse(decorator) for decorator in node.decorator_list] != ["dataclass(frozen=True)"]
    ]
    assert offenders == []


def _blocks_with_a_connection() -> Iterator[tuple[str, ast.With]]:
    for module in files():
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.With) and {"autocommit", "transaction"} & {
                name for item in node.items for name in called(item.context_expr)
            }:
                yield module, node


def test_nothing_slow_is_done_on_a_connection() -> None:
    """A handler that holds a connection neither hashes a password nor calls another service."""
    slow = {"passwords", "antifraud", "allows", "hash", "verify", "rehash_if_needed"}
    blocks = [(module, block) for module, block in _blocks_with_a_connection() if module.startswith("handlers.")]
    assert len(blocks) > 10
    offenders: list[str] = []
    for module, block in blocks:
        used = {node.attr for node in ast.walk(block) if isinstance(node, ast.Attribute)}
        offenders += [f"{module}:{block.lineno} uses {name}" for name in sorted(slow & used)]
    assert offenders == []


def test_no_connection_is_taken_on_another() -> None:
    """No code that holds a connection takes a second: enough such requests would wait for each other for ever."""
    offenders = [
        f"{module}:{block.lineno} calls {name}"
        for module, block in _blocks_with_a_connection()
        for statement in block.body
        for name in called(statement)
        if name in ("autocommit", "transaction")
    ]
    assert offenders == []


def _limits(schema: Any) -> Iterator[int]:
    keywords = {"minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"}
    if isinstance(schema, dict):
        yield from (value for name, value in schema.items() if name in keywords and isinstance(value, int))
        schema = [*schema.values()]
    if isinstance(schema, list):
        for part in schema:
            yield from _limits(part)


def test_limits_are_only_in_the_contract() -> None:
    """No limit of api.yml is repeated in Python."""
    limits = {limit for limit in _limits(specification()) if limit > 1}
    assert 5000 in limits
    repeated = [
        f"{module}:{part.lineno} repeats {part.value}"
        for module in (*OPERATION_MODULES, *SHARED_BY_HANDLERS, *QUERY_MODULES, "promo_api.security.tokens")
        for node in tree(module).body
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and type(part.value) is int and part.value in limits
    ]
    assert repeated == []


def test_no_function_assigns_a_global_variable() -> None:
    """No function assigns a variable of its module."""
    offenders = [
        f"{module}:{node.lineno}"
        for module in files()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Global)
    ]
    assert offenders == []


def test_tests_do_not_sleep() -> None:
    """A test waits for an event, never for a fixed time in which the event should happen."""
    assert [name for file in TESTS if "sleep" in called(_test_tree(file)) and (name := _name(file)) not in PACED] == []


def test_tests_say_what_they_hold() -> None:
    """Every unit and contract test has a docstring and an assertion."""
    offenders: list[str] = []
    for file in UNIT_AND_CONTRACT_TESTS:
        for node in ast.walk(_test_tree(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                asserts = any(isinstance(part, ast.Assert) for part in ast.walk(node))
                asserts |= any("assert" in name or name == "raises" for name in called(node))
                if not asserts or not ast.get_docstring(node):
                    offenders.append(f"{_name(file)}::{node.name}")
    assert offenders == []


def _catches_everything(node: ast.ExceptHandler) -> bool:
    return node.type is None or "BaseException" in ast.unparse(node.type)


def test_no_exception_is_swallowed_unseen() -> None:
    """No code of the service catches all exceptions."""
    offenders = [
        f"{module}:{node.lineno}"
        for module in files()
        if not module.startswith("promo_api.dev")
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node)
    ]
    assert offenders == []
