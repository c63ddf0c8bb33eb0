"""Commands of operators during requests of the account."""

from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from persistence.accounts.companies import close_company
from persistence.accounts.credentials import COMPANY_ACCOUNTS, USER_ACCOUNTS
from persistence.promos.promos import insert_promo
from persistence.schema.tables import companies, users
from promo_api.operator_commands import close_account
from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api, promo_body
from tests.mismatches import find_mismatches
from tests.race.interleaving import Stage

_NEW_PASSWORD = "N3w&Better"


def _sign_in(account: Account, kind: str, password: str) -> Any:
    body = {"email": account.email, "password": password}
    return account.api.call("POST", f"/{kind}/auth/sign-in", json=body)


@pytest.mark.parametrize("kind", ["user", "business"])
def test_sign_in_during_a_reset(api: Api, runtime: Runtime, stage: Stage, kind: str) -> None:
    """A sign-in that has verified the old password before the reset gets no token after it."""
    account = api.sign_up_user() if kind == "user" else api.sign_up_company()
    accounts, table = (USER_ACCOUNTS, users) if kind == "user" else (COMPANY_ACCOUNTS, companies)
    new_hash = runtime.passwords.hash(_NEW_PASSWORD)
    with stage.lock_row(table, email=account.email) as (holder, queue):
        queue.add(partial(_sign_in, account, kind, PASSWORD))
        assert accounts.update_password(holder, account.email, new_hash=new_hash)
    assert [response.status_code for response in queue.results()] == [401]
    assert _sign_in(account, kind, _NEW_PASSWORD).status_code == 200


def test_password_change_during_a_reset(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A password change with a token that the reset revokes does not replace the new password."""
    user = api.sign_up_user()
    new_hash = runtime.passwords.hash(_NEW_PASSWORD)
    with stage.lock_row(users, email=user.email) as (holder, queue):
        queue.add(partial(user.patch, "/user/profile", json={"password": "0f-the-Thief"}))
        assert USER_ACCOUNTS.update_password(holder, user.email, new_hash=new_hash)
    [refused] = queue.results()
    assert (refused.status_code, refused.json()["code"]) == (401, "token_revoked")
    assert _sign_in(user, "user", "0f-the-Thief").status_code == 401
    assert _sign_in(user, "user", _NEW_PASSWORD).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "during-the-closing"}], ids=["no key", "key"])
def test_requests_during_the_closing(api: Api, runtime: Runtime, stage: Stage, headers: dict[str, str]) -> None:
    """A company that is being closed creates and changes no promo, also if it was authenticated before."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    before = user.get(f"/user/promo/{promo_id}").json()
    with stage.lock_row(companies, id=UUID(company.id)) as (holder, queue):
        queue.add(
            partial(company.post, "/business/promo", json=promo_body(), headers=headers),
            partial(company.patch, f"/business/promo/{promo_id}", json={"description": "Another description"}),
        )
        assert close_company(holder, UUID(company.id))
    assert [(response.status_code, response.json()["code"]) for response in queue.results()] == [
        (401, "account_deleted"),
        (401, "account_deleted"),
    ]
    assert user.get(f"/user/promo/{promo_id}").json() == before
    assert close_account(runtime.settings, "company", company.email, is_confirmed=True) == 0
    assert find_mismatches(runtime) == {}


def test_closing_during_a_creation(api: Api, runtime: Runtime, stage: Stage) -> None:
    """The closing waits for the creation of a promo, and ends that promo too."""
    company, promo_id = api.sign_up_company(), uuid4()
    values = {
        "company_id": UUID(company.id), "mode": "COMMON", "description": "The last promo", "promo_common": "half-price",
        "country": None, "categories": None,
    }  # fmt: skip
    with stage.queue() as queue, runtime.database.transaction() as creation:
        assert insert_promo(creation, promo_id, values, runtime.today(), use_limit=5, codes=None)
        queue.add(partial(close_account, runtime.settings, "company", company.email, is_confirmed=True))
    assert queue.results() == [0]
    assert api.sign_up_user().get(f"/user/promo/{promo_id}").json()["active"] is False
