"""api.yml gives generators what they need for code that compiles and has readable names."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cases import all_cases
from tests.contract.breaking import resolve_references
from tests.operations import OPERATIONS, Operation
from tests.specification import specification

_SCHEMAS: dict[str, Any] = specification()["components"]["schemas"]
# Types of languages that programs use all the time, which a class of the same name would hide.
_TYPES = {
    "any", "array", "bool", "boolean", "byte", "char", "class", "date", "datetime", "decimal", "double",
    "error", "exception", "file", "float", "function", "int", "integer", "iterable", "list", "long", "map",
    "none", "null", "number", "object", "option", "promise", "record", "request", "response", "result", "set",
    "short", "string", "symbol", "type", "uuid", "void",
}  # fmt: skip
_MAX_DESCRIPTION_CHARS = 400

every_operation = all_cases("operation", OPERATIONS)


@every_operation
def test_operation_has_one_tag(operation: Operation) -> None:
    """An operation has one tag, which is described: generators make a class of it."""
    assert len(operation.declared["tags"]) == 1
    assert operation.declared["tags"][0] in {tag["name"] for tag in specification()["tags"] if tag["description"]}


def test_methods_of_a_tag_have_different_names() -> None:
    """Within a tag, operations have different names without the prefix of the handlers' module."""
    names = Counter((each.declared["tags"][0], each.id.partition(".")[2]) for each in OPERATIONS)
    assert [name for name, number in names.items() if number > 1] == []


def test_tags_are_used() -> None:
    """Each tag has operations."""
    assert {tag["name"] for tag in specification()["tags"]} == {each.declared["tags"][0] for each in OPERATIONS}


def test_description_is_short() -> None:
    """The description of the API is short, because most generators copy it into every file."""
    assert len(specification()["info"]["description"]) <= _MAX_DESCRIPTION_CHARS


@every_operation
def test_classes_have_names(operation: Operation) -> None:
    """Objects, alternatives and enums in parameters and bodies have names, so generators do not invent any."""
    declared = _resolved(operation)
    contents = [declared.get("requestBody", {}), *declared["responses"].values()]
    schemas = [media["schema"] for part in contents for media in part.get("content", {}).values()]
    schemas += [parameter["schema"] for parameter in declared.get("parameters", ())]
    parts = [part for schema in schemas for part in _parts(schema)]
    assert [part for part in parts if "title" not in part and part.keys() & {"properties", "oneOf", "enum"}] == []


def test_no_schema_has_the_name_of_a_type() -> None:
    """No schema is called like a type of a language, such as Error."""
    assert [name for name in _SCHEMAS if name.lower() in _TYPES] == []


def test_values_of_enums_are_unique() -> None:
    """No two enums have a value with the same name, because Go has one namespace for all of them."""
    values = [
        re.sub(r"\W", "_", str(value)).upper() for schema in _SCHEMAS.values() for value in schema.get("enum", ())
    ]
    assert [value for value, number in Counter(values).items() if number > 1] == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_patterns_of_responses_are_portable(operation: Operation) -> None:
    r"""Patterns of responses have no `\u` and, in alternatives, no lookaround.

    PHP evaluates them when it reads a response, and Go when it reads one of several alternatives. Neither knows `\u`.
    """
    for response in [each for each in _resolved(operation)["responses"].values() if "content" in each]:
        for part in _parts(response["content"].get("application/json", {}).get("schema", {})):
            assert r"\u" not in part.get("pattern", "")
            alternatives = [inner for schema in part.get("oneOf", ()) for inner in _parts(schema)]
            assert [each for each in alternatives if re.search(r"\(\?[=!<]", each.get("pattern", ""))] == []


def _resolved(operation: Operation) -> Any:
    return _DOCUMENT["paths"][operation.path][operation.method.lower()]


def _parts(schema: Any) -> Iterator[Any]:
    """Yield a schema and all schemas in it."""
    yield schema
    for part in (
        *schema.get("properties", {}).values(),
        *schema.get("oneOf", ()),
        *filter(None, [schema.get("items")]),
    ):
        yield from _parts(part)


_DOCUMENT: Any = resolve_references(specification())
