"""Valid and invalid requests to every operation of api.yml, with secrets in all places of a request.

All secrets contain one marker, so that any part of them can be found in a log.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, NamedTuple

import requests

from tests.accounts import Account, company_body, promo_body, user_body
from tests.e2e.raw import fields, request, send_raw
from tests.e2e.server import Server
from tests.mailbox import Mailbox
from tests.operations import OPERATIONS, Operation

MARK = "q7zx"
_numbers = count(1)
_KINDS = ("business", "user")
# Operations that revoke the token of the request.
_REVOKING = ("business_auth.sign_out", "user_auth.sign_out", "user_profile.delete_profile")


class SentRequest(NamedTuple):
    """A request with a response.

    Attributes:
        request_id: of the response.
        status: of the response.
        operation: its operationId; "" if the path has none, None if the server may not have recognized it.
    """

    request_id: str
    status: int
    operation: str | None


def secret(form: str) -> str:
    """Return a unique text with the marker in place of `{}`: `a{}@b.example`."""
    return form.format(f"{MARK}{next(_numbers)}")


def _sign_in(account: Account) -> dict[str, Any]:
    return {name: account.body[name] for name in ("email", "password")}


def _address_and_password() -> dict[str, str]:
    return {"email": secret("{}@secret.example"), "password": secret("Pass!{}")}


def _user() -> dict[str, Any]:
    return user_body() | _address_and_password() | {"name": secret("Name {}"), "surname": secret("Surname {}")}


def _company() -> dict[str, Any]:
    return company_body() | _address_and_password() | {"name": secret("Company {}")}


# The password of accounts whose token is revoked.
_TEMPORARY_PASSWORD = secret("Pass!{}")


class AllOperations:
    """Sends requests to every operation of a server, which sends its mails to the mailbox.

    Attributes:
        sent: the requests, in order.
    """

    def __init__(self, server: Server, mailbox: Mailbox) -> None:
        self._server = server
        self._accounts = accounts = server.accounts
        self._company, self._user = accounts.sign_up_company(**_company()), accounts.sign_up_user(**_user())
        # For sign-ins, which revoke the earlier token.
        self._others = accounts.sign_up_company(**_company()), accounts.sign_up_user(**_user())
        self._promo_id = self._company.create_promo(promo_unique=[secret("code-{}") for _ in range(20)])
        self._comments = f"/user/promo/{self._promo_id}/comments"
        self._comment_id = self._user.post(self._comments, json={"text": secret("A comment {}")}).json()["id"]
        # Of another user, because users cannot report their own comments.
        author = accounts.sign_up_user(**_user())
        self._reported_id = author.post(self._comments, json={"text": secret("A comment {}")}).json()["id"]
        codes = self._company.post(f"/business/promo/{self._promo_id}/codes", json=[secret("code-{}")])
        self._job_id = codes.json()["id"]
        key = self._company.post("/business/keys", json={"name": secret("Key {}"), "scopes": ["read", "write"]})
        self._key_id, self._key = key.json()["id"], key.json()["key"]
        # The first is deleted.
        self._webhook_ids = [self._create_webhook() for _ in range(2)]
        self._redeemed = self._create_redemptions()
        self._resets = [self._request_reset(mailbox, *each) for each in zip(_KINDS, self._others, strict=True)]
        self._sign_ups = {
            "company": ("/business/auth/sign-up", _company, self._company),
            "user": ("/user/auth/sign-up", _user, self._user),
        }
        self.sent: list[SentRequest] = []
        server.remote.hooks["response"].append(self._remember)
        self._operation = ""

    def _create_redemptions(self) -> dict[str, str]:
        """Return the id of a redemption by the last segment of the paths that need it."""
        self._code, order = secret("common-{}"), secret("order-{}")
        common = self._company.create_promo(promo_common=self._code)
        self._hold = {"code": self._code, "promo_id": common, "order_ref": order, "hold_s": 600}
        for _ in range(4):
            self._user.post(f"/user/promo/{common}/activate")
        redemption = {"code": self._code}
        bodies = {
            "confirm": {**redemption, "hold_s": 600},
            "release": {**redemption, "hold_s": 600},
            "void": redemption,
        }
        return {
            name: self._company.post("/business/redemptions", json=body).json()["id"] for name, body in bodies.items()
        }

    def _create_webhook(self) -> str:
        webhook = self._company.post("/business/webhooks", json={"url": secret("https://shop.example/{}")}).json()
        webhook_id: str = webhook["id"]
        return webhook_id

    def _request_reset(self, mailbox: Mailbox, kind: str, account: Account) -> dict[str, str]:
        """Return the body that resets the password of an account, once, to its own password."""
        body = {"email": account.email}
        requested = self._accounts.call("POST", f"/{kind}/auth/forgot-password", json=body)
        assert requested.status_code == 200, requested.text
        return {"token": mailbox.token(account.email), "password": account.body["password"]}

    def send_valid(self, operations: Iterable[Operation] = OPERATIONS) -> dict[str, int]:
        """Send a valid request to each of the operations, and return the statuses by operationId."""
        return {
            each.id: self._send(
                each, self._fill_path(each.path), json=self._body(each), headers={"Idempotency-Key": secret("key-{}")}
            )
            for each in operations
        }

    def send_invalid(self) -> set[int]:
        """Send invalid requests to each operation, and return the statuses."""
        return {
            self._send(each, path, **arguments)
            for each in OPERATIONS
            for path, arguments in self._invalid_requests(each.path, self._body(each))
        }

    def comment(self) -> int:
        """Create a comment, and return the status, which is not checked against api.yml."""
        self._operation = "user_comments.create_comment"
        headers = {"Authorization": f"Bearer {self._user.token}"}
        body = {"text": secret("A comment {}")}
        return self._server.remote.post(f"/api{self._comments}", json=body, headers=headers).status_code

    def send_malformed(self) -> None:
        """Send malformed HTTP, which does not reach the application or ends inside it."""
        token, path = self._user.token.encode(), secret("/api/{}").encode()
        secrets = b"Authorization: Bearer " + token + secret("\r\nX-Secret: {}").encode()
        chunked = (b"Transfer-Encoding: chunked", b"Content-Type: application/json")
        messages = [
            secret("{}\r\n\r\n").encode(),
            request(b"GET", path, secrets, b"Host: another"),
            request(b"GET", path, secrets, secret("{}: no name (").encode()),
            request(b"GET", path, secrets, b"X-Long: " + b"x" * 100_000),
            request(b"POST", f"/api{self._comments}".encode(), secrets, *chunked) + secret("zz{}\r\n").encode(),
        ]
        for message in messages:
            response = send_raw(self._server.url, message)
            self.sent.append(SentRequest(fields(response.content)["x-request-id"], response.status, None))

    def _send(self, operation: Operation, path: str, **request: Any) -> int:
        self._operation = "" if path.startswith(f"/{MARK}") else operation.id
        token = request.pop("token", self._token(operation))
        status: int = self._accounts.call(operation.method, path, token=token, **request).status_code
        return status

    def _token(self, operation: Operation) -> str | None:
        if operation.id in _REVOKING:
            return self._temporary_token(operation)
        accounts = {"company": self._company, "user": self._user}
        return accounts[operation.account].token if operation.account else None

    def _temporary_token(self, operation: Operation) -> str:
        """Return a token of a new account, which may be revoked; without a sign-up, that of an existing account."""
        path, body, account = self._sign_ups[operation.account]
        current, self._operation = self._operation, f"{path.split('/')[1]}_auth.sign_up"
        response = self._accounts.call("POST", path, json=body() | {"password": _TEMPORARY_PASSWORD})
        token: str = response.json().get("token", account.token)
        self._operation = current
        return token

    def _fill_path(self, path: str) -> str:
        comment_id = self._reported_id if path.endswith("/report") else self._comment_id
        if path.endswith("{comment_id}"):
            self._operation = "user_comments.create_comment"
            response = self._user.post(self._comments, json={"text": secret("A comment {}")})
            comment_id = response.json().get("id", comment_id)
        return self._with_ids(path, comment_id)

    def _with_ids(self, path: str, comment_id: str) -> str:
        ids = {"/business/keys/": self._key_id, "/business/jobs/": self._job_id}
        id_of_path = next((id_ for start, id_ in ids.items() if path.startswith(start)), self._promo_id)
        if "/redemptions/" in path:
            id_of_path = self._redeemed.get(path.rpartition("/")[2], self._redeemed["void"])
        if path.startswith("/business/webhooks/"):
            id_of_path = self._webhook_ids[0 if path.endswith("{id}") else 1]
        return path.replace("{id}", id_of_path).replace("{comment_id}", comment_id)

    def _body(self, operation: Operation) -> Any:
        return self._bodies()[operation.id]() if operation.takes_body else None

    def _bodies(self) -> dict[str, Callable[[], Any]]:
        """Return functions that create request bodies, by operationId."""
        return {
            "business_auth.sign_up": _company,
            "business_auth.sign_in": lambda: _sign_in(self._others[0]),
            "business_keys.create_key": lambda: {"name": secret("Key {}"), "scopes": ["read"]},
            "business_auth.forgot_password": lambda: {"email": self._company.email},
            "business_auth.reset_password": lambda: self._resets[0],
            "business_profile.update_profile": self._company_profile,
            "business_promos.create_promo": lambda: promo_body(promo_common=secret("code-{}")),
            "business_promos.update_promo": lambda: {"description": secret("A description {}")},
            "business_codes.append_codes": lambda: [secret("code-{}")],
            "business_codes.generate_codes": lambda: {"count": 2, "pattern": secret("#######{}")},
            "business_redemptions.validate_code": lambda: {"code": self._code},
            "business_redemptions.create_redemption": lambda: dict(self._hold),
            "business_webhooks.create_webhook": lambda: {"url": secret("https://shop.example/{}")},
            "business_webhooks.update_webhook": lambda: {"url": secret("https://shop.example/{}")},
            "business_webhooks.redeliver": lambda: {"since": "2025-01-16T12:30:00Z"},
            "user_auth.sign_up": _user,
            "user_auth.sign_in": lambda: _sign_in(self._others[1]),
            "user_auth.forgot_password": lambda: {"email": self._user.email},
            "user_auth.reset_password": lambda: self._resets[1],
            "user_profile.update_profile": lambda: {"name": secret("{}"), "password": secret("N3w!{}")},
            "user_profile.delete_profile": lambda: {"password": _TEMPORARY_PASSWORD},
            "user_comments.create_comment": lambda: {"text": secret("A comment {}")},
            "user_comments.update_comment": lambda: {"text": secret("Another comment {}")},
            "user_comments.report_comment": lambda: {"reason": "other"},
        }

    def _company_profile(self) -> dict[str, str]:
        password = self._company.body["password"]
        return {"name": secret("Company {}"), "password": password, "old_password": password}

    def _invalid_requests(self, path: str, body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the paths and the other arguments of invalid requests."""
        full_path = self._with_ids(path, self._comment_id)
        members = body if isinstance(body, dict) else {}
        yield f"{full_path}?{secret('x{}')}={secret('{}')}", {"json": body}
        yield full_path, {"json": body, "token": secret("{}")}
        yield full_path, {"json": body, "token": f"{self._user.token}x"}
        yield full_path, {"json": body, "token": self._others[0].token}
        yield full_path, {"json": body, "headers": {"X-Api-Key": self._key}}
        yield f"{full_path}?{self._key}", {"json": body, "token": None, "headers": {"X-Api-Key": self._key}}
        yield full_path, {"json": body, "token": None, "headers": {"X-Api-Key": secret("pk_{}")}}
        yield full_path, {"json": members | {secret("x{}"): secret("{}")}, "headers": {"Idempotency-Key": ""}}
        yield full_path, {"json": dict.fromkeys(members, secret("!{}\x00"))}
        yield full_path, {"data": secret("{}"), "headers": {"Content-Type": secret("text/{}")}}
        yield full_path, {"data": secret('{{"{}": '), "headers": {"Content-Type": "application/json"}}
        yield path.replace("{id}", secret("{}")).replace("{comment_id}", self._comment_id), {"json": body}
        yield secret("/{}") + full_path, {"json": body}

    def _remember(self, response: requests.Response, **_options: Any) -> None:
        self.sent.append(SentRequest(response.headers["X-Request-Id"], response.status_code, self._operation))
