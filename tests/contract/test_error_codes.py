"""Error codes: api.yml lists them by operation and status, with an example of each, and the server has no others."""

import ast

from tests.error_page import codes, codes_of
from tests.operations import OPERATIONS
from tests.specification import specification
from tests.unit.source import files, tree

_EXAMPLES = specification()["components"]["examples"]
# Errors before a request is known to belong to an operation, and defects.
_ANY_REQUEST = {
    "not_found",
    "method_not_allowed",
    "malformed_http",
    "headers_too_large",
    "request_timeout",
    "origin_not_allowed",
    "cors_method_not_allowed",
    "cors_headers_not_allowed",
    "internal_error",
}


def test_every_code_has_an_example() -> None:
    """Every code has an example with its name, and every example has a listed code."""
    assert {*codes()} <= _EXAMPLES.keys()
    assert {example["value"]["code"] for example in _EXAMPLES.values()} == {*codes()}
    assert all(_EXAMPLES[code]["value"]["code"] == code for code in codes())


def test_every_response_lists_its_codes() -> None:
    """Every error response lists codes by their names, and every code but those of any request is listed."""
    listed = {code for operation in OPERATIONS for found in codes_of(operation).values() for code in found}
    assert listed == {*codes()} - _ANY_REQUEST
    for operation in OPERATIONS:
        errors_of_operation = {status for status in operation.declared["responses"] if status >= "400"}
        without = {"503"} if operation.id == "health.get_health" else set()
        assert codes_of(operation).keys() == errors_of_operation - without


def test_server_has_the_listed_codes() -> None:
    """Every listed code is in the source. Response validation finds codes that are not listed."""
    constants = {
        node.value
        for module in files()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {*codes()} <= constants
