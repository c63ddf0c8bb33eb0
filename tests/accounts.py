"""The people of the tests: companies and users that talk to the API as a client would."""

from dataclasses import dataclass
from itertools import count
from typing import Any

from starlette.testclient import TestClient

from tests.conformance import Conformance

PASSWORD = "Passw0rd!"
_numbers = count(1)


class Api:
    """The API, asked without a token; every answer is held against api.yml."""

    def __init__(self, client: TestClient, conformance: Conformance) -> None:
        self.client = client
        self._conformance = conformance

    def call(self, method: str, path: str, *, token: str | None = None, **request: Any) -> Any:
        """Send a request to a path below /api and return the answer; `request` as httpx takes it."""
        headers = dict(request.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        answer = self.client.request(method, f"/api{path}", headers=headers, **request)
        self._conformance.check(method, path, answer)
        return answer

    def sign_up_company(self, **changes: Any) -> "Account":
        """Make a company and return it signed in."""
        body = company_body() | changes
        answer = self.call("POST", "/business/auth/sign-up", json=body)
        assert answer.status_code == 200, answer.text
        return Account(self, answer.json()["token"], body, answer.json()["company_id"])

    def sign_up_user(self, *, age: int = 30, country: str = "ru", **changes: Any) -> "Account":
        """Make a user and return them signed in."""
        body = user_body(age=age, country=country) | changes
        answer = self.call("POST", "/user/auth/sign-up", json=body)
        assert answer.status_code == 200, answer.text
        return Account(self, answer.json()["token"], body)


@dataclass
class Account:
    """A company or user with a token; `body` is what it signed up with, `id` a company's id."""

    api: Api
    token: str
    body: dict[str, Any]
    id: str = ""

    @property
    def email(self) -> str:
        """The address that it signed up with."""
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
        """Make a promo, COMMON with much room unless told otherwise, and return its id; for companies."""
        answer = self.post("/business/promo", json=promo_body(**changes))
        assert answer.status_code == 201, answer.text
        promo_id: str = answer.json()["id"]
        return promo_id


def new_email() -> str:
    """Return an address that no test has used."""
    return f"person{next(_numbers)}@example.com"


def company_body() -> dict[str, Any]:
    """Return what a company signs up with."""
    return {"name": "Northern Coffee", "email": new_email(), "password": PASSWORD}


def user_body(*, age: int = 30, country: str = "ru") -> dict[str, Any]:
    """Return what a user signs up with."""
    other = {"age": age, "country": country}
    return {"name": "Ann", "surname": "Lee", "email": new_email(), "password": PASSWORD, "other": other}


def promo_body(**changes: Any) -> dict[str, Any]:
    """Return what a promo is made with; a list in `promo_unique` makes it UNIQUE. None takes a member away."""
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
