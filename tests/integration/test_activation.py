"""Activation: values, limits, targets and refusals. test_antifraud covers the anti-fraud verdicts."""

from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import Account, Api
from tests.cases import all_cases

pytestmark = pytest.mark.usefixtures("both_verdict_paths")


def _activate(user: Account, promo_id: str) -> Any:
    return user.post(f"/user/promo/{promo_id}/activate")


def _used(company: Account, promo_id: str) -> Any:
    return company.get(f"/business/promo/{promo_id}").json()["used_count"]


def test_common_value_is_always_the_same(api: Api, company: Account) -> None:
    """Each activation of a COMMON promo, by any user, returns its value and counts as a use."""
    promo_id = company.create_promo(promo_common="Half-Price")
    one, other = api.sign_up_user(), api.sign_up_user()
    assert [_activate(user, promo_id).json() for user in (one, other, one)] == [{"promo": "Half-Price"}] * 3
    assert _used(company, promo_id) == 3


def test_unique_values_are_issued_once_each(api: Api, company: Account) -> None:
    """Each activation of a UNIQUE promo, by any user, returns an unused value until none is left."""
    promo_id = company.create_promo(promo_unique=["one", "two", "three"])
    one, other = api.sign_up_user(), api.sign_up_user()
    issued = [_activate(user, promo_id).json()["promo"] for user in (one, one, other)]
    assert sorted(issued) == ["one", "three", "two"]
    assert [_activate(user, promo_id).status_code for user in (one, other)] == [403, 403]
    assert _used(company, promo_id) == 3


def test_a_value_listed_twice_is_issued_twice(api: Api, company: Account) -> None:
    """If a list has duplicates, each entry is issued."""
    promo_id, user = company.create_promo(promo_unique=["same", "same", "else"]), api.sign_up_user()
    issued = [_activate(user, promo_id).json()["promo"] for _ in range(3)]
    assert sorted(issued) == ["else", "same", "same"]
    assert _activate(user, promo_id).status_code == 403


def test_promos_issue_their_own_values(api: Api, company: Account) -> None:
    """Promos with equal lists issue their values independently."""
    ids, user = [company.create_promo(promo_unique=["one"]) for _ in range(2)], api.sign_up_user()
    assert [_activate(user, promo_id).json() for promo_id in ids] == [{"promo": "one"}] * 2
    assert [_used(company, promo_id) for promo_id in ids] == [1, 1]


def test_common_stops_at_max_count(api: Api, company: Account) -> None:
    """A COMMON promo can be activated max_count times. Then it is inactive."""
    promo_id, user = company.create_promo(max_count=2), api.sign_up_user()
    assert [_activate(user, promo_id).status_code for _ in range(3)] == [200, 200, 403]
    shown = company.get(f"/business/promo/{promo_id}").json()
    assert (shown["used_count"], shown["active"]) == (2, False)
    assert user.get(f"/user/promo/{promo_id}").json()["active"] is False


@pytest.mark.parametrize(
    "changes",
    [
        {"max_count": 0},
        {"active_from": "2999-01-01"},
        {"active_until": "2020-01-01"},
        {"active_from": "2019-01-01", "active_until": "2020-01-01", "promo_unique": ["one"]},
    ],
)
def test_inactive_promo(api: Api, company: Account, changes: dict[str, Any]) -> None:
    """Activating an inactive promo is refused, counts as no use, and is not in the history."""
    promo_id, user = company.create_promo(**changes), api.sign_up_user()
    assert _activate(user, promo_id).status_code == 403
    assert _used(company, promo_id) == 0
    assert user.get("/user/promo/history").headers["x-total-count"] == "0"
    assert user.get(f"/user/promo/{promo_id}").json()["is_activated_by_user"] is False


@all_cases(
    ("target", "status"),
    [
        ({"country": "Gb"}, 200),
        ({"country": "fr"}, 403),
        ({"age_from": 40}, 200),
        ({"age_from": 41}, 403),
        ({"age_until": 40}, 200),
        ({"age_until": 39}, 403),
        ({"age_from": 40, "age_until": 40}, 200),
        ({"age_from": 0, "age_until": 39}, 403),
        ({"country": "gb", "age_from": 41}, 403),
        ({"country": "fr", "age_from": 40}, 403),
        ({"categories": ["anything", "else"]}, 200),
        ({"country": "GB", "age_from": 39, "age_until": 41, "categories": ["anything"]}, 200),
    ],
)
def test_targeting(api: Api, company: Account, target: dict[str, Any], status: int) -> None:
    """A user can activate a promo that targets their country or none, in any letter case, and their age."""
    promo_id = company.create_promo(target=target)
    assert _activate(api.sign_up_user(age=40, country="gB"), promo_id).status_code == status
    assert _used(company, promo_id) == (status == 200)


def test_changed_target(api: Api, company: Account) -> None:
    """A changed target applies from the next activation on."""
    promo_id, user = company.create_promo(), api.sign_up_user(age=40)
    statuses = []
    for target in ({"age_from": 41}, {"age_from": 40}, {"country": "fr"}, {}):
        company.patch(f"/business/promo/{promo_id}", json={"target": target})
        statuses.append(_activate(user, promo_id).status_code)
    assert statuses == [403, 200, 403, 200]


def test_changed_period(api: Api, company: Account) -> None:
    """A changed period applies from the next activation on."""
    promo_id, user = company.create_promo(active_until="2020-01-01"), api.sign_up_user()
    statuses = []
    for date in ("2999-01-01", "2020-01-01"):
        company.patch(f"/business/promo/{promo_id}", json={"active_until": date})
        statuses.append(_activate(user, promo_id).status_code)
    assert statuses == [200, 403]


def test_refusal_codes(api: Api, company: Account) -> None:
    """A refusal has the reasons that eligibility lists; code and message are those of the first."""
    user = api.sign_up_user(country="ru", age=30)
    foreign, old = {"country": "fr"}, {"age_until": 29}
    used_up = company.create_promo(max_count=1)
    assert _activate(user, used_up).status_code == 200
    cases: list[tuple[str, dict[str, Any]]] = [
        ("promo_inactive", {"max_count": 0, "target": foreign}),
        ("promo_not_started", {"active_from": "2999-01-01", "target": old}),
        ("promo_expired", {"active_until": "2001-01-01"}),
        ("user_age", {"target": foreign | old}),
        ("user_country", {"target": foreign}),
    ]
    promos = [(code, company.create_promo(**changes)) for code, changes in cases]
    for code, promo_id in (*promos, ("promo_exhausted", used_up)):
        response = _activate(user, promo_id)
        assert (response.status_code, response.json()["code"]) == (403, code)
        assert response.json()["reasons"] == user.get(f"/user/promo/{promo_id}/eligibility").json()["reasons"]
        assert "retry-after" not in response.headers


def test_unknown_promo(api: Api) -> None:
    """Activating an unknown promo is a 404."""
    assert _activate(api.sign_up_user(), str(uuid4())).status_code == 404


def test_inactive_is_the_first_reason(api: Api, company: Account) -> None:
    """If a promo is inactive and targets others, the message says that it is inactive."""
    user = api.sign_up_user(country="ru")
    inactive = company.create_promo(max_count=0)
    foreign = company.create_promo(target={"country": "fr"})
    both = company.create_promo(max_count=0, target={"country": "fr"})
    messages = [_activate(user, promo_id).json()["message"] for promo_id in (inactive, foreign, both)]
    assert messages[0] == messages[2] != messages[1]


def test_refusal_without_the_value(api: Api, company: Account) -> None:
    """A refused activation does not reveal the value."""
    promo_id = company.create_promo(promo_common="KEEP-THIS", max_count=0)
    response = _activate(api.sign_up_user(), promo_id)
    assert (response.status_code, "KEEP-THIS" in response.text) == (403, False)
