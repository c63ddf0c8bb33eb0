"""Companies and users that call the API like any client."""

from dataclasses import dataclass
from itertools import count
from typing import Any

from starlette.testclient import TestClient

from promo_api.contract.security_headers import SECURITY_HEADERS
from tests.operations import OPERATIONS

PASSWORD = "Passw0rd!"
_numbers = count(1)
_STATUSES = {404, 405} | {int(status) for each in OPERATIONS for status in each.declared["responses"]}
_STREAMED = ("text/csv", "application/x-ndjson")
_NOT_MODIFIED, _FIRST_ERROR = 304, 400
_HEADERS = {name.decode(): value.decode() for name, value in SECURITY_HEADERS}
# The Cache-Control of some responses in api.yml.
_STORED = "private, no-cache"


class Api:
    """A client of the API without a token.

    The service under test validates its responses (VALIDATE_RESPONSES). An invalid response becomes a 500, which fails
    the test.
    """

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def call(self, method: str, path: str, *, token: str | None = None, **request: Any) -> Any:
        """Send a request to a path below /api and return the response; `request` has arguments of httpx."""
        headers = dict(request.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        response = self.client.request(method, f"/api{path}", headers=headers, **request)
        check_response(response)
        return response

    def sign_up_company(self, **changes: Any) -> "Account":
        """Create a company and return its account."""
        body = company_body() | changes
        response = self.call("POST", "/business/auth/sign-up", json=body)
        assert response.status_code == 200, response.text
        return Account(self, response.json()["token"], body, response.json()["company_id"])

    def sign_up_user(self, *, age: int = 30, country: str = "ru", **changes: Any) -> "Account":
        """Create a user and return their account."""
        body = user_body(age=age, country=country) | changes
        response = self.call("POST", "/user/auth/sign-up", json=body)
        assert response.status_code == 200, response.text
        return Account(self, response.json()["token"], body)


def check_response(response: Any) -> None:
    """Assert the status, headers and error body that every response has, also outside the contract layer."""
    assert response.status_code in _STATUSES, response.status_code
    assert response.headers["x-request-id"]
    cached = {"cache-control": _STORED} if response.headers["cache-control"] == _STORED else {}
    assert response.headers.items() >= {**_HEADERS, **cached}.items()
    if response.status_code == _NOT_MODIFIED:
        assert (response.content, response.headers.get("content-type")) == (b"", None)
        return
    media_type = response.headers["content-type"].partition(";")[0]
    if media_type in _STREAMED:
        return
    assert media_type == "application/json"
    if response.request.method == "HEAD":
        assert response.content == b""
        return
    body = response.json()
    if response.status_code >= _FIRST_ERROR and "dependencies" not in body:
        assert body.keys() <= {"status", "code", "message", "details", "reasons", "candidates"}
        assert body["status"] == "error"
        assert body["code"]
        assert body["message"]


@dataclass
class Account:
    """A company or user with a token; `body` is that of the sign-up, `id` is only set for a company."""

    api: Api
    token: str
    body: dict[str, Any]
    id: str = ""

    @property
    def email(self) -> str:
        """The e-mail address of the sign-up."""
        return str(self.body["email"])

    def get(self, path: str, **request: Any) -> Any:
        """Send a GET."""
        return self.api.call("GET", path, token=self.token, **request)

    def post(self, path: str, **request: Any) -> Any:
        """Send a POST."""
        return self.api.call("POST", path, token=self.token, **request)

    def patch(self, path: str, **request: Any) -> Any:
        """Send a PATCH."""
        return self.api.call("PATCH", path, token=self.token, **request)

    def put(self, path: str, **request: Any) -> Any:
        """Send a PUT."""
        return self.api.call("PUT", path, token=self.token, **request)

    def delete(self, path: str, **request: Any) -> Any:
        """Send a DELETE."""
        return self.api.call("DELETE", path, token=self.token, **request)

    def create_promo(self, **changes: Any) -> str:
        """Create a promo, by default COMMON with 1000 uses, and return its id. For companies."""
        response = self.post("/business/promo", json=promo_body(**changes))
        assert response.status_code == 201, response.text
        promo_id: str = response.json()["id"]
        return promo_id


def new_email() -> str:
    """Return an unused e-mail address."""
    return f"person{next(_numbers)}@example.com"


def company_body() -> dict[str, Any]:
    """Return the body of a company's sign-up."""
    return {"name": "Northern Coffee", "email": new_email(), "password": PASSWORD}


def user_body(*, age: int = 30, country: str = "ru") -> dict[str, Any]:
    """Return the body of a user's sign-up."""
    other = {"age": age, "country": country}
    return {"name": "Ann", "surname": "Lee", "email": new_email(), "password": PASSWORD, "other": other}


def promo_body(**changes: Any) -> dict[str, Any]:
    """Return the body of a new promo. `promo_unique` makes it UNIQUE; None removes a member."""
    body: dict[str, Any] = {
        "mode": "COMMON",
        "description": "Half of the price of any coffee",
        "target": {},
        "max_count": 1000,
        "promo_common": "half-price",
    }
    if "promo_unique" in changes:
        body |= {"mode": "UNIQUE", "max_count": 1, "promo_common": None}
    return {name: value for name, value in (body | changes).items() if value is not None}
