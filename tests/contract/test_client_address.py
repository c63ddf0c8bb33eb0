"""Client addresses: the connection, or the header of a trusted proxy."""

from pathlib import Path

import pytest
from starlette.types import ASGIApp

from promo_api.contract.client_address import ClientAddressMiddleware
from tests.contract.asgi import Header, call
from tests.contract.sample_api import contract, operation, serve

_CONNECTION = "127.0.0.1"


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    """An operation whose handler takes the address, and one whose handler does not."""
    paths = {
        "/known": {"get": operation("echo.show_client_address")},
        "/not": {"get": operation()},
    }
    return serve(tmp_path / "api.yml", contract(paths))


def _address(app: ASGIApp, *headers: Header, path: str = "known") -> object:
    return call(app, "GET", f"/api/{path}", headers=headers).json()["arguments"].get("client_address")


def test_connection(app: ASGIApp) -> None:
    """A handler with an argument `client_address` gets the address of the connection, and no other handler does."""
    assert _address(app) == _CONNECTION
    assert _address(app, path="not") is None


@pytest.mark.parametrize("name", ["X-Real-IP", "X-Forwarded-For", "Forwarded"])
def test_other_headers_are_ignored(app: ASGIApp, name: str) -> None:
    """A header that is not configured is ignored."""
    assert _address(app, (name, "198.51.100.7")) == _CONNECTION
    assert _address(ClientAddressMiddleware(app, "X-Client"), (name, "198.51.100.7")) == _CONNECTION


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["2001:db8::1"], "2001:db8::1"),
        ([" 198.51.100.7 "], "198.51.100.7"),
        (["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        (["nonsense,198.51.100.7"], "198.51.100.7"),
        (["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        ([], _CONNECTION),
        ([""], _CONNECTION),
        (["198.51.100.7,"], _CONNECTION),
        (["198.51.100.7", ""], _CONNECTION),
        (["198.51.100.7, unknown"], _CONNECTION),
        (["198.51.100.7:8080"], _CONNECTION),
        (["198.51.100.256"], _CONNECTION),
        (["\xff\xfe"], _CONNECTION),
    ],
)
def test_trusted_header(app: ASGIApp, values: list[str], address: str) -> None:
    """The last address of the last header is used; if that is not an address, that of the connection."""
    app_with_header = ClientAddressMiddleware(app, "X-Forwarded-For")
    for name in ("X-Forwarded-For", "x-forwarded-for"):
        assert _address(app_with_header, *[(name, value) for value in values]) == address
