"""Clients of accounts, and the bodies of their responses."""

from http import HTTPStatus
from typing import Protocol, TypeVar

from promo_client import AuthenticatedClient
from promo_client.models import ErrorBody, ErrorStatus

PASSWORD = "Str0ng&Hot"
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class TypedResponse(Protocol[T_co]):
    """A covariant view of the client's `Response`, which is invariant: mypy cannot remove ErrorBody from its union."""

    @property
    def status_code(self) -> HTTPStatus:
        """The status."""

    @property
    def parsed(self) -> T_co | None:
        """The body, with the type for this status."""


def good(response: TypedResponse[ErrorBody | T], status: int = 200) -> T:
    """Return the body of a successful response."""
    assert response.status_code == status, response
    assert response.parsed is not None
    assert not isinstance(response.parsed, ErrorBody), response
    return response.parsed


def refused(response: TypedResponse[object], status: int) -> ErrorBody:
    """Return the body of an error response."""
    assert response.status_code == status, response
    assert isinstance(response.parsed, ErrorBody)
    assert response.parsed.status is ErrorStatus.ERROR
    assert response.parsed.message
    return response.parsed


def signed_in(url: str, token: str) -> AuthenticatedClient:
    """Return a client with the token of an account."""
    return AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True)
