"""Every operation of api.yml, asked well and badly, with something secret wherever a request has room for it.

What is made here to be secret has one mark, so that a part of it is found as well as the whole.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import requests

from tests.accounts import Account, company_body, promo_body, user_body
from tests.e2e.raw import fields, request, send_raw
from tests.e2e.server import Server
from tests.specification import specification

MARK = "q7zx"
_numbers = count(1)
# What ends the tokens of who asks.
_ENDING = ("business_auth.sign_out", "user_auth.sign_out", "user_profile.delete_profile")


class Asked(NamedTuple):
    """A request that has been answered.

    Attributes:
        request_id: of the answer.
        status: of the answer.
        operation: that was asked for; "" if it was none, None if that may not have been known in time.
    """

    request_id: str
    status: int
    operation: str | None


class Operation(NamedTuple):
    """An operation of api.yml: its operationId, how it is asked for, who may, and whether it takes a body."""

    id: str
    method: str
    path: str
    schemes: list[str]
    takes_body: bool


def secret(form: str) -> str:
    """Return something that is marked, and was never sent before; `form` has a place for it: `a{}@b.example`."""
    return form.format(f"{MARK}{next(_numbers)}")


def _sign_in(account: Account) -> dict[str, Any]:
    return {name: account.body[name] for name in ("email", "password")}


def _address_and_password() -> dict[str, str]:
    return {"email": secret("{}@secret.example"), "password": secret("Pass!{}")}


def _user() -> dict[str, Any]:
    return user_body() | _address_and_password() | {"name": secret("Name {}"), "surname": secret("Surname {}")}


def _company() -> dict[str, Any]:
    return company_body() | _address_and_password() | {"name": secret("Company {}")}


# The password of those who ask for what ends their tokens.
_LEAVING = secret("Pass!{}")


class Everything:
    """Asks a server for every operation of the contract.

    Attributes:
        asked: what has been answered, in order.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._people = people = server.people
        self._company, self._user = people.sign_up_company(**_company()), people.sign_up_user(**_user())
        # A sign-in ends the token that was there before, so it is for others.
        self._others = people.sign_up_company(**_company()), people.sign_up_user(**_user())
        self._promo_id = self._company.create_promo(promo_unique=[secret("code-{}") for _ in range(20)])
        self._comments = f"/user/promo/{self._promo_id}/comments"
        self._comment_id = self._user.post(self._comments, json={"text": secret("A comment {}")}).json()["id"]
        self._sign_ups = {
            "companyAuth": ("/business/auth/sign-up", _company, self._company),
            "userAuth": ("/user/auth/sign-up", _user, self._user),
        }
        self.asked: list[Asked] = []
        server.remote.hooks["response"].append(self._remember)
        self._operation = ""

    def ask_well(self) -> dict[str, int]:
        """Ask for each operation as a client should, and return the statuses by operationId."""
        return {
            each.id: self._ask(
                each, self._filled(each.path), json=self._body(each), headers={"Idempotency-Key": secret("key-{}")}
            )
            for each in _operations()
        }

    def ask_badly(self) -> set[int]:
        """Ask for each operation in ways that no client should, and return the statuses of the answers."""
        return {
            self._ask(each, path, **wrong)
            for each in _operations()
            for path, wrong in self._wrong(each.path, self._body(each))
        }

    def comment(self) -> int:
        """Ask for a comment, and return the status, which may be one that api.yml does not know."""
        self._operation = "user_comments.create_comment"
        headers = {"Authorization": f"Bearer {self._user.token}"}
        sent = {"text": secret("A comment {}")}
        return self._server.remote.post(f"/api{self._comments}", json=sent, headers=headers).status_code

    def ask_what_is_no_http(self) -> None:
        """Send what never reaches the application, or breaks off in it."""
        token, path = self._user.token.encode(), secret("/api/{}").encode()
        secrets = b"Authorization: Bearer " + token + secret("\r\nX-Secret: {}").encode()
        chunked = (b"Transfer-Encoding: chunked", b"Content-Type: application/json")
        sent = [
            secret("{}\r\n\r\n").encode(),
            request(b"GET", path, secrets, b"Host: another"),
            request(b"GET", path, secrets, secret("{}: no name (").encode()),
            request(b"GET", path, secrets, b"X-Long: " + b"x" * 100_000),
            request(b"POST", f"/api{self._comments}".encode(), secrets, *chunked) + secret("zz{}\r\n").encode(),
        ]
        for message in sent:
            answer = send_raw(self._server.url, message)
            self.asked.append(Asked(fields(answer.content)["x-request-id"], answer.status, None))

    def _ask(self, operation: Operation, path: str, **request: Any) -> int:
        self._operation = "" if path.startswith(f"/{MARK}") else operation.id
        token = request.pop("token", self._token(operation))
        status: int = self._people.call(operation.method, path, token=token, **request).status_code
        return status

    def _token(self, operation: Operation) -> str | None:
        if operation.id in _ENDING:
            return self._nobodys_token(operation)
        accounts = {"companyAuth": self._company, "userAuth": self._user}
        return next((accounts[name].token for name in operation.schemes), None)

    def _nobodys_token(self, operation: Operation) -> str:
        """Return a token that nobody needs once the operation has ended it; any other where nobody can sign up."""
        path, body, account = self._sign_ups[operation.schemes[0]]
        asked, self._operation = self._operation, f"{path.split('/')[1]}_auth.sign_up"
        answer = self._people.call("POST", path, json=body() | {"password": _LEAVING})
        token: str = answer.json().get("token", account.token)
        self._operation = asked
        return token

    def _filled(self, path: str) -> str:
        comment_id = self._comment_id
        if path.endswith("{comment_id}"):
            self._operation = "user_comments.create_comment"
            answer = self._user.post(self._comments, json={"text": secret("A comment {}")})
            comment_id = answer.json().get("id", comment_id)
        return path.replace("{id}", self._promo_id).replace("{comment_id}", comment_id)

    def _body(self, operation: Operation) -> Any:
        return self._bodies()[operation.id]() if operation.takes_body else None

    def _bodies(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """Return what makes the body of each operation that takes one."""
        return {
            "business_auth.sign_up": _company,
            "business_auth.sign_in": lambda: _sign_in(self._others[0]),
            "business_promos.create_promo": lambda: promo_body(promo_common=secret("code-{}")),
            "business_promos.update_promo": lambda: {"description": secret("A description {}")},
            "user_auth.sign_up": _user,
            "user_auth.sign_in": lambda: _sign_in(self._others[1]),
            "user_profile.update_profile": lambda: {"name": secret("{}"), "password": secret("N3w!{}")},
            "user_profile.delete_profile": lambda: {"password": _LEAVING},
            "user_comments.create_comment": lambda: {"text": secret("A comment {}")},
            "user_comments.update_comment": lambda: {"text": secret("Another comment {}")},
        }

    def _wrong(self, path: str, body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield paths, and what else a request has."""
        whole = path.replace("{id}", self._promo_id).replace("{comment_id}", self._comment_id)
        yield f"{whole}?{secret('x{}')}={secret('{}')}", {"json": body}
        yield whole, {"json": body, "token": secret("{}")}
        yield whole, {"json": body, "token": f"{self._user.token}x"}
        yield whole, {"json": body, "token": self._others[0].token}
        yield whole, {"json": (body or {}) | {secret("x{}"): secret("{}")}, "headers": {"Idempotency-Key": ""}}
        yield whole, {"json": dict.fromkeys(body or {}, secret("!{}\x00"))}
        yield whole, {"data": secret("{}"), "headers": {"Content-Type": secret("text/{}")}}
        yield whole, {"data": secret('{{"{}": '), "headers": {"Content-Type": "application/json"}}
        yield path.replace("{id}", secret("{}")).replace("{comment_id}", self._comment_id), {"json": body}
        yield secret("/{}") + whole, {"json": body}

    def _remember(self, answer: requests.Response, **_options: Any) -> None:
        self.asked.append(Asked(answer.headers["X-Request-Id"], answer.status_code, self._operation))


def _operations() -> Iterator[Operation]:
    paths = specification()["paths"]
    for path, methods in paths.items():
        for method, declared in methods.items():
            schemes = [name for scheme in declared["security"] for name in scheme]
            yield Operation(declared["operationId"], method.upper(), path, schemes, "requestBody" in declared)
