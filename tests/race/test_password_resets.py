"""Password resets: a token is used once, also against changes of the account at the same time."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from promo_api.config.settings import Settings
from promo_api.operator_commands import close_account
from tests.accounts import PASSWORD, Account, Api
from tests.mailbox import Mailbox
from tests.race.interleaving import together

_PATHS = {"company": "/business", "user": "/user"}
_KINDS = pytest.mark.parametrize("kind", ["company", "user"])
_ROUNDS = 10


def _sign_up(api: Api, kind: str) -> Account:
    return api.sign_up_company() if kind == "company" else api.sign_up_user()


def _token(api: Api, mailbox: Mailbox, kind: str, account: Account, count: int = 1) -> str:
    response = api.call("POST", f"{_PATHS[kind]}/auth/forgot-password", json={"email": account.email})
    assert response.status_code == 200, response.text
    return mailbox.token(account.email, count)


def _reset(api: Api, kind: str, token: str, password: str) -> int:
    body = {"token": token, "password": password}
    return int(api.call("POST", f"{_PATHS[kind]}/auth/reset-password", json=body).status_code)


def _sign_in(account: Account, kind: str, password: str) -> int:
    body = {"email": account.email, "password": password}
    return int(account.api.call("POST", f"{_PATHS[kind]}/auth/sign-in", json=body).status_code)


def _status(send: Callable[[], Any]) -> int:
    return int(send().status_code)


@_KINDS
def test_one_of_many_wins(api: Api, mailbox: Mailbox, kind: str) -> None:
    """Of simultaneous resets with one token one succeeds, and its password is the password."""
    account = _sign_up(api, kind)
    token = _token(api, mailbox, kind, account)
    passwords = [f"Passw0rd!{number}" for number in range(8)]
    statuses = together([partial(_reset, api, kind, token, password) for password in passwords])
    assert sorted(statuses) == [200, *[400] * 7]
    assert [_sign_in(account, kind, password) for password in passwords] == [
        200 if status == 200 else 401 for status in statuses
    ]


@_KINDS
def test_reset_and_closing(api: Api, mailbox: Mailbox, settings: Settings, kind: str) -> None:
    """A reset and the closing of the account do not block each other; afterwards the account is closed."""
    for _ in range(_ROUNDS):
        account = _sign_up(api, kind)
        token = _token(api, mailbox, kind, account)
        close: Callable[[], int] = partial(close_account, settings, kind, account.email, is_confirmed=True)
        reset, closed = together([partial(_reset, api, kind, token, "Passw0rd!1"), close])
        assert (reset in (200, 400), closed) == (True, 0)
        assert _sign_in(account, kind, "Passw0rd!1") == 401


def test_reset_and_change_of_the_password(api: Api, mailbox: Mailbox) -> None:
    """If a reset and a change of the password meet, exactly the later one counts."""
    for _ in range(_ROUNDS):
        company = _sign_up(api, "company")
        token = _token(api, mailbox, "company", company)
        body = {"password": "Changed&0ne", "old_password": PASSWORD}
        change = partial(_status, partial(company.patch, "/business/profile", json=body))
        reset, changed = together([partial(_reset, api, "company", token, "Passw0rd!1"), change])
        assert (reset, changed) in [(200, 401), (200, 403), (400, 200)]
        password = "Passw0rd!1" if reset == 200 else "Changed&0ne"
        assert _sign_in(company, "company", password) == 200
