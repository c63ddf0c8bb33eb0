"""GET /user/activations: the activations of a user with their codes."""

from typing import Any

import pytest
from sqlalchemy import text

from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api

_PATH = "/user/activations"


def _activate(user: Account, promo_id: str) -> str:
    response = user.post(f"/user/promo/{promo_id}/activate")
    assert response.status_code == 200, response.text
    code: str = response.json()["promo"]
    return code


def _list(user: Account, **query: Any) -> tuple[list[dict[str, Any]], int]:
    response = user.get(_PATH, params=query)
    assert response.status_code == 200, response.text
    return response.json(), int(response.headers["X-Total-Count"])


def _codes(user: Account, **query: Any) -> list[str]:
    return [entry["code"] for entry in _list(user, **query)[0]]


def test_no_activations(api: Api) -> None:
    """A user who activated nothing gets an empty list."""
    assert _list(api.sign_up_user()) == ([], 0)


def test_entry(api: Api) -> None:
    """An entry has the activation, its code, and the company and description of the promo."""
    company, user = api.sign_up_company(name="Southern Tea"), api.sign_up_user()
    promo_id = company.create_promo(description="Tea for two, for one", promo_common="TEA-21")
    _activate(user, promo_id)
    [[entry], total] = _list(user)
    [exported] = user.get("/user/export").json()["activations"]
    assert total == 1
    assert entry == {
        "id": exported["id"],
        "promo_id": promo_id,
        "code": "TEA-21",
        "activated_at": exported["date"],
        "company_id": company.id,
        "company_name": "Southern Tea",
        "description": "Tea for two, for one",
    }


def test_codes_of_both_modes(api: Api) -> None:
    """Each entry has the code that its activation returned, the latest first. A code may be in a promo twice."""
    company, user, other = api.sign_up_company(), api.sign_up_user(), api.sign_up_user()
    common, unique = company.create_promo(), company.create_promo(promo_unique=["one", "two", "one", "three"])
    others = [_activate(other, unique)]
    codes = [_activate(user, promo_id) for promo_id in (unique, common, unique, common, unique)]
    assert _codes(user) == codes[::-1]
    assert _codes(user, limit=2, offset=1) == codes[::-1][1:3]
    assert _codes(user, limit=2, offset=3) == codes[::-1][3:]
    assert _codes(other) == others
    assert sorted(codes[::2] + others) == ["one", "one", "three", "two"]


@pytest.mark.parametrize("offset", [0, 4])
def test_activations_of_an_earlier_version(api: Api, runtime: Runtime, offset: int) -> None:
    """The codes of activations without a position are found among all codes of their promos."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promos = [company.create_promo(promo_unique=[f"{name}-{n}" for n in range(9)]) for name in ("one", "two")]
    codes = [_activate(user, promo_id) for promo_id in promos * 3]
    query = text("UPDATE activations SET code_position = NULL WHERE promo_id = ANY(:promos) AND code_position < 3")
    with runtime.database.transaction() as connection:
        assert connection.execute(query, {"promos": promos}).rowcount == 4
    assert _codes(user, offset=offset) == codes[::-1][offset:]
    assert [entry["promo"] for entry in user.get("/user/export").json()["activations"]] == codes


def test_promo_that_has_changed(api: Api) -> None:
    """The code stays in the list when the promo ends or targets others; the description is the current one."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(promo_unique=["one", "two"])
    code = _activate(user, promo_id)
    patch = {"description": "A new description", "target": {"country": "fr"}, "active_until": "2020-01-01"}
    assert company.patch(f"/business/promo/{promo_id}", json=patch).status_code == 200
    [entry] = _list(user)[0]
    assert (entry["code"], entry["description"]) == (code, "A new description")


def test_response_is_not_compressed(api: Api) -> None:
    """A long list is sent as it is, because compressed codes could be guessed from its size."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(description="A long description. " * 12)
    for _ in range(20):
        _activate(user, promo_id)
    response = user.get(_PATH, params={"limit": 100}, headers={"Accept-Encoding": "gzip"})
    assert len(response.content) > 5000
    assert "content-encoding" not in response.headers
    assert user.get("/user/promo/history?limit=100").headers["content-encoding"] == "gzip"


def test_account_with_the_address_of_a_deleted_one(api: Api) -> None:
    """After the deletion of an account, its activations are in no list, also of a new account with the address."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    _activate(user, promo_id)
    assert api.call("DELETE", "/user/profile", token=user.token, json={"password": PASSWORD}).status_code == 200
    assert user.get(_PATH).status_code == 401
    assert _list(api.sign_up_user(email=user.email)) == ([], 0)
