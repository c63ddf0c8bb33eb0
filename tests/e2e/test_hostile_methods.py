"""Methods that a path does not have: 405, with all that it has, on every path of the contract."""

import re
from functools import cache
from typing import Any

import pytest

from tests.e2e.raw import fields, request
from tests.e2e.refusals import assert_refused
from tests.e2e.server import Server
from tests.specification import specification

pytestmark = pytest.mark.usefixtures("unharmed")

_UUID = "00000000-0000-4000-8000-000000000000"
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "M-SEARCH"}


@cache
def _paths() -> dict[str, set[str]]:
    document: Any = specification()
    return {path: {method.upper() for method in operations} for path, operations in document["paths"].items()}


@pytest.mark.parametrize("path", _paths())
def test_methods_that_a_path_does_not_have(server: Server, path: str) -> None:
    """Each is 405 with the complete `Allow`, whoever asks; HEAD is not GET, and gets no body."""
    target = ("/api" + re.sub(r"\{.*?\}", _UUID, path)).encode()
    for method in sorted(_METHODS - _paths()[path]):
        answer = assert_refused(server, request(method.encode(), target), 405)
        assert set(fields(answer.content)["allow"].split(", ")) == _paths()[path]


@pytest.mark.parametrize("method", ["BREW", "get", "GETT", "X" * 60_000, "G\x00T", "G T"])
def test_methods_of_no_standard(server: Server, method: str) -> None:
    """What is no method is refused before anybody looks for a path."""
    assert_refused(server, request(method.encode(), b"/api/ping"), 400)
