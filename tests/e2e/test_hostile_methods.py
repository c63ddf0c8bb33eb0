"""Methods that a path does not have get 405 with `Allow`, on every path of the contract."""

import re

import pytest

from tests.e2e.raw import fields, request
from tests.e2e.refusals import assert_refused
from tests.e2e.server import Server
from tests.operations import OPERATIONS, allowed_methods

pytestmark = pytest.mark.usefixtures("unharmed")

_UUID = "00000000-0000-4000-8000-000000000000"
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "M-SEARCH"}


@pytest.mark.parametrize("path", sorted({operation.path for operation in OPERATIONS}))
def test_methods_not_allowed(server: Server, path: str) -> None:
    """Each other method gets 405 with the complete `Allow`, also without a token."""
    target = ("/api" + re.sub(r"\{.*?\}", _UUID, path)).encode()
    for method in sorted(_METHODS - allowed_methods(path)):
        response = assert_refused(server, request(method.encode(), target), 405)
        assert set(fields(response.content)["allow"].split(", ")) == allowed_methods(path)


@pytest.mark.parametrize("method", ["BREW", "get", "GETT", "X" * 60_000, "G\x00T", "G T"])
def test_invalid_methods(server: Server, method: str) -> None:
    """An invalid method gets 400, independent of the path."""
    assert_refused(server, request(method.encode(), b"/api/ping"), 400)
