"""Forgotten passwords: mails, tokens, and refusals that reveal nothing."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from promo_api.app import create_app
from promo_api.config.settings import Settings
from promo_api.config.values import Rate
from promo_api.operator_commands import close_account, reset_password
from promo_api.runtime import Runtime
from promo_api.security.passwords import Passwords
from tests.accounts import PASSWORD, Account, Api, company_body
from tests.conftest import Clock
from tests.mailbox import Mailbox
from tests.statements import sent_statements

NEW_PASSWORD = "An0ther&Word"
_PATHS = {"company": "/business", "user": "/user"}
_OTHER = {"company": "user", "user": "company"}
_KINDS = pytest.mark.parametrize("kind", ["company", "user"])
_REFUSED = (400, "reset_token_invalid")


def _sign_up(api: Api, kind: str, **changes: Any) -> Account:
    return api.sign_up_company(**changes) if kind == "company" else api.sign_up_user(**changes)


def _forgot(api: Api, kind: str, email: str) -> Any:
    return api.call("POST", f"{_PATHS[kind]}/auth/forgot-password", json={"email": email})


def _reset(api: Api, kind: str, token: str, password: str = NEW_PASSWORD) -> Any:
    return api.call("POST", f"{_PATHS[kind]}/auth/reset-password", json={"token": token, "password": password})


def _sign_in(api: Api, kind: str, email: str, password: str) -> int:
    body = {"email": email, "password": password}
    return int(api.call("POST", f"{_PATHS[kind]}/auth/sign-in", json=body).status_code)


def _outcome(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("code", "")


def _request_token(api: Api, mailbox: Mailbox, kind: str, account: Account, count: int = 1) -> str:
    assert _forgot(api, kind, account.email).json() == {"status": "ok"}
    return mailbox.token(account.email, count)


def _events(runtime: Runtime, account: Account, kind: str) -> list[str]:
    claims = runtime.tokens.read(account.token, "company" if kind == "company" else "user")
    query = text("SELECT event FROM account_log WHERE account_id = :id ORDER BY id")
    with runtime.database.autocommit() as connection:
        return list(connection.scalars(query, {"id": claims.account_id}))


@_KINDS
def test_reset(api: Api, mailbox: Mailbox, runtime: Runtime, kind: str) -> None:
    """The token of the mail replaces the password, revokes all tokens, and is recorded."""
    account = _sign_up(api, kind)
    token = _request_token(api, mailbox, kind, account)
    assert account.get(f"{_PATHS[kind]}/profile").status_code == 200
    assert _sign_in(api, kind, account.email, PASSWORD) == 200
    assert _outcome(_reset(api, kind, token)) == (200, "")
    refused = account.get(f"{_PATHS[kind]}/profile")
    assert _outcome(refused) == (401, "token_revoked")
    assert _sign_in(api, kind, account.email, PASSWORD) == 401
    assert _sign_in(api, kind, account.email, NEW_PASSWORD) == 200
    assert _events(runtime, account, kind) == ["signed_up", "signed_in", "password_recovered", "signed_in"]


def test_reset_and_api_keys(api: Api, mailbox: Mailbox) -> None:
    """A reset revokes the tokens of a company, and leaves its API keys: they are revoked one by one."""
    company = _sign_up(api, "company")
    key = company.post("/business/keys", json={"name": "Shop", "scopes": ["read"]}).json()["key"]
    assert _reset(api, "company", _request_token(api, mailbox, "company", company)).status_code == 200
    assert _outcome(company.get("/business/promo")) == (401, "token_revoked")
    assert api.call("GET", "/business/promo", headers={"X-Api-Key": key}).status_code == 200


@_KINDS
def test_mail(api: Api, mailbox: Mailbox, kind: str) -> None:
    """The mail has a text and a simple HTML version with the link of the setting, and loads nothing."""
    account = _sign_up(api, kind)
    token = _request_token(api, mailbox, kind, account)
    [message] = mailbox.to(account.email)
    assert (message["From"], message["To"]) == ("Promo <promo@shop.example>", account.email)
    assert message["Auto-Submitted"] == "auto-generated"
    link = f"https://shop.example/{_PATHS[kind][1:]}/reset#{token}"
    plain, html = (message.get_body((version,)) for version in ("plain", "html"))
    assert plain is not None
    assert html is not None
    assert plain.get_content().count(link) == 1
    assert html.get_content().count(f'href="{link}"') == 1
    assert "src=" not in html.get_content()


@_KINDS
def test_token_is_used_once(api: Api, mailbox: Mailbox, kind: str) -> None:
    """A token that was used is refused."""
    account = _sign_up(api, kind)
    token = _request_token(api, mailbox, kind, account)
    assert _reset(api, kind, token).status_code == 200
    assert _outcome(_reset(api, kind, token, "Third&W0rd")) == _REFUSED
    assert _sign_in(api, kind, account.email, NEW_PASSWORD) == 200


@_KINDS
def test_token_expires(api: Api, mailbox: Mailbox, clock: Clock, kind: str) -> None:
    """A token is valid for 30 minutes."""
    account = _sign_up(api, kind)
    requested_at = clock.stopped_at = clock()
    token = _request_token(api, mailbox, kind, account)
    clock.stopped_at = requested_at + timedelta(minutes=30)
    assert _outcome(_reset(api, kind, token)) == _REFUSED
    clock.stopped_at -= timedelta(microseconds=1)
    assert _outcome(_reset(api, kind, token)) == (200, "")


@_KINDS
def test_newer_token_replaces_the_older(api: Api, mailbox: Mailbox, kind: str) -> None:
    """A new request replaces the earlier token."""
    account = _sign_up(api, kind)
    first = _request_token(api, mailbox, kind, account)
    second = _request_token(api, mailbox, kind, account, count=2)
    assert first != second
    assert _outcome(_reset(api, kind, first)) == _REFUSED
    assert _outcome(_reset(api, kind, second)) == (200, "")


@_KINDS
def test_newer_request_during_a_reset(api: Api, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """If a newer request comes between the check of a token and its use, the token is refused."""
    account = _sign_up(api, kind)
    token, original = _request_token(api, mailbox, kind, account), Passwords.hash

    def request_and_hash(passwords: Passwords, password: str) -> str:
        assert _forgot(api, kind, account.email).status_code == 200
        return original(passwords, password)

    with monkeypatch.context() as patch:
        patch.setattr(Passwords, "hash", request_and_hash)
        assert _outcome(_reset(api, kind, token)) == _REFUSED
    assert _sign_in(api, kind, account.email, PASSWORD) == 200
    assert _outcome(_reset(api, kind, mailbox.token(account.email, 2))) == (200, "")


@_KINDS
def test_tokens_of_others(api: Api, mailbox: Mailbox, kind: str) -> None:
    """A token is refused by the other kind of account, for another account, and if it is changed or guessed."""
    account, other = _sign_up(api, kind), _sign_up(api, kind)
    token = _request_token(api, mailbox, kind, account)
    other_token = _request_token(api, mailbox, kind, other)
    first, second = urlsafe_b64decode(token), urlsafe_b64decode(other_token)
    assert UUID(bytes=first[:16]) != UUID(bytes=second[:16])
    guesses = [second[:16] + first[16:], first[:-1] + bytes([first[-1] ^ 1]), first[:16] + bytes(32), bytes(48), b"x"]
    for guess in (urlsafe_b64encode(guess).decode().rstrip("=") for guess in guesses):
        assert _outcome(_reset(api, kind, guess)) == _REFUSED
    assert _outcome(_reset(api, _OTHER[kind], token)) == _REFUSED
    assert _sign_in(api, kind, account.email, PASSWORD) == 200
    assert _outcome(_reset(api, kind, token)) == (200, "")


@_KINDS
def test_unknown_address(api: Api, mailbox: Mailbox, kind: str) -> None:
    """An unknown address gets the response of a known one, and no mail; so does an account of the other kind."""
    account, unknown = _sign_up(api, kind), company_body()["email"]
    known = _forgot(api, kind, account.email)
    for response in (_forgot(api, kind, unknown), _forgot(api, _OTHER[kind], account.email)):
        assert (response.status_code, response.content) == (known.status_code, known.content)
        assert response.headers.keys() == known.headers.keys()
    mailbox.to(account.email)
    later = _sign_up(api, kind)
    _request_token(api, mailbox, kind, later)
    assert (len(mailbox.now(account.email)), mailbox.now(unknown)) == (1, [])


@_KINDS
def test_same_work_for_any_address(api: Api, kind: str) -> None:
    """A request for an unknown address sends the same statements, the first time and again."""
    account, unknown = _sign_up(api, kind), company_body()["email"]
    sent = []
    for email in (account.email, unknown, account.email, unknown):
        with sent_statements() as statements:
            assert _forgot(api, kind, email).status_code == 200
        sent.append([statement for statement, _ in statements])
    assert len(sent[0]) == 2
    assert sent[1:] == [sent[0]] * 3


@_KINDS
def test_case_of_the_address(api: Api, mailbox: Mailbox, kind: str) -> None:
    """The case of the address does not matter; the mail goes to the address of the account."""
    account = _sign_up(api, kind)
    assert _forgot(api, kind, account.email.upper()).status_code == 200
    assert _outcome(_reset(api, kind, mailbox.token(account.email))) == (200, "")


@_KINDS
def test_tag_of_the_address(api: Api, mailbox: Mailbox, kind: str) -> None:
    """An address with a tag is another one than the address without it."""
    plain = company_body()["email"]
    name, _, domain = plain.partition("@")
    account = _sign_up(api, kind, email=f"{name}+tag@{domain}")
    for email in (plain, account.email):
        assert _forgot(api, kind, email).status_code == 200
    assert _outcome(_reset(api, kind, mailbox.token(account.email))) == (200, "")
    assert mailbox.now(plain) == []


@_KINDS
def test_invalid_addresses(api: Api, mailbox: Mailbox, kind: str) -> None:
    """An address with a line break, a second address, or a character that is not ASCII is refused, without a mail."""
    account = _sign_up(api, kind)
    name, _, domain = account.email.partition("@")
    hostile = [
        *(f"{account.email}{end}" for end in ("\n", "\r\nBcc: eve@mail.example", ",eve@mail.example", "\x00", " ")),
        *(f"{name}{end}@{domain}" for end in ("é", "\u0131", "\u200b", "\u202e")),
        *(f"Anna <{account.email}>", f'"{name}"@{domain}', f"{name}@[127.0.0.1]", f"{name}@{'m' * 120}.example"),
    ]
    for email in hostile:
        response = _forgot(api, kind, email)
        assert (response.status_code, response.json()["details"][0]["pointer"]) == (400, "/email"), email
    _request_token(api, mailbox, kind, account)
    assert len(mailbox.now(account.email)) == 1


@_KINDS
def test_database_has_no_token(api: Api, mailbox: Mailbox, runtime: Runtime, kind: str) -> None:
    """The database contains neither the token nor the address of the mail, and after the mail no nonce."""
    account = _sign_up(api, kind)
    token = _request_token(api, mailbox, kind, account)
    query = text("SELECT password_resets::text, nonce FROM password_resets WHERE account_id = :id")
    account_id = UUID(bytes=urlsafe_b64decode(token)[:16])
    with runtime.database.autocommit() as connection:
        row, nonce = connection.execute(query, {"id": account_id}).one()
    secret = urlsafe_b64decode(token)[16:]
    assert token not in row
    assert secret.hex() not in row
    assert account.email not in row
    assert nonce is None or secret not in nonce


@_KINDS
def test_operator_ends_resets(api: Api, mailbox: Mailbox, settings: Settings, kind: str) -> None:
    """The commands reset-password and close-account end the open reset of an account."""
    for command in (reset_password, lambda *account: close_account(*account, is_confirmed=True)):
        account = _sign_up(api, kind)
        token = _request_token(api, mailbox, kind, account)
        assert command(settings, kind, account.email) == 0
        assert _outcome(_reset(api, kind, token)) == _REFUSED


@_KINDS
def test_password_change_ends_resets(api: Api, mailbox: Mailbox, kind: str) -> None:
    """A new password ends the open reset, another change does not."""
    account = _sign_up(api, kind)
    token = _request_token(api, mailbox, kind, account)
    old = {"old_password": PASSWORD} if kind == "company" else {}
    changed = account.patch(f"{_PATHS[kind]}/profile", json={"password": NEW_PASSWORD, **old})
    assert changed.status_code == 200, changed.text
    assert _outcome(_reset(api, kind, token)) == _REFUSED
    token = _request_token(api, mailbox, kind, account, count=2)
    assert account.patch(f"{_PATHS[kind]}/profile", json={"name": "Other name"}).status_code == 200
    assert _outcome(_reset(api, kind, token)) == (200, "")


def test_deleted_user(api: Api, mailbox: Mailbox, runtime: Runtime) -> None:
    """The deletion of a user deletes the open reset, and the token is refused."""
    user = api.sign_up_user()
    token = _request_token(api, mailbox, "user", user)
    deleted = user.delete("/user/profile", json={"password": PASSWORD})
    assert deleted.status_code == 200, deleted.text
    with runtime.database.autocommit() as connection:
        query = text("SELECT count(*) FROM password_resets WHERE account_id = :id")
        assert connection.scalar(query, {"id": UUID(bytes=urlsafe_b64decode(token)[:16])}) == 0
    assert _outcome(_reset(api, "user", token)) == _REFUSED


def test_export_shows_the_reset(api: Api, mailbox: Mailbox) -> None:
    """The user sees in the export that the password was reset by mail."""
    user = api.sign_up_user()
    assert _reset(api, "user", _request_token(api, mailbox, "user", user)).status_code == 200
    body = {"email": user.email, "password": NEW_PASSWORD}
    user.token = api.call("POST", "/user/auth/sign-in", json=body).json()["token"]
    events = [event["event"] for event in user.get("/user/export").json()["events"]]
    assert events == ["signed_up", "password_recovered", "signed_in"]


@pytest.mark.usefixtures("runtime")
@_KINDS
def test_without_mail_server(settings: Settings, kind: str) -> None:
    """Without SMTP_URL the request is refused with the code `mail_not_configured`."""
    with _app(replace(settings, smtp_url="")) as client:
        response = _forgot(Api(client), kind, company_body()["email"])
    assert _outcome(response) == (503, "mail_not_configured")


@pytest.mark.usefixtures("runtime")
@_KINDS
def test_limits_of_requests(settings: Settings, kind: str) -> None:
    """Requests are limited by account, known or not, and by client address."""
    rates = {"forgot_passwords_per_account": Rate(2, 3600), "forgot_passwords_per_address": Rate(0, 1)}
    with _app(replace(settings, **rates)) as client:
        api = Api(client)
        for email in (_sign_up(api, kind).email, company_body()["email"]):
            assert [_forgot(api, kind, email).status_code for _ in range(3)] == [200, 200, 429]
            assert _forgot(api, _OTHER[kind], email).status_code == 200
    rates = {"forgot_passwords_per_address": Rate(2, 3600)}
    with _app(replace(settings, secret_key=f"the key of requests of a {kind}" * 3, **rates)) as client:
        emails = [company_body()["email"] for _ in range(3)]
        assert [_forgot(Api(client), kind, email).status_code for email in emails] == [200, 200, 429]


@pytest.mark.usefixtures("runtime")
@_KINDS
def test_limit_of_guesses(settings: Settings, kind: str) -> None:
    """Refused tokens are limited by client address."""
    key = f"the key of guesses of a {kind}" * 3
    with _app(replace(settings, secret_key=key, failed_resets_per_address=Rate(2, 900))) as client:
        assert [_reset(Api(client), kind, "x" * 64).status_code for _ in range(3)] == [400, 400, 429]


def test_reset_unlocks_the_account(api: Api, mailbox: Mailbox) -> None:
    """A reset ends the lock that failed sign-ins have caused."""
    user = api.sign_up_user()
    statuses = {_sign_in(api, "user", user.email, "Wr0ng&Word") for _ in range(21)}
    assert statuses == {401, 429}
    assert _reset(api, "user", _request_token(api, mailbox, "user", user)).status_code == 200
    assert _sign_in(api, "user", user.email, NEW_PASSWORD) == 200


def _app(settings: Settings) -> TestClient:
    return TestClient(create_app(Runtime.open(settings)), raise_server_exceptions=False)
