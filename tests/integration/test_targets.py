"""Valid and invalid targets, in a new promo and in a change. test_activation tests who may activate."""

from typing import Any

from tests.accounts import Account, promo_body
from tests.cases import all_cases

PROMO = "/business/promo"

VALID = [
    {},
    {"age_from": 0},
    {"age_until": 0},
    {"age_from": 100},
    {"age_until": 100},
    {"age_from": 0, "age_until": 100},
    {"age_from": 30, "age_until": 30},
    {"country": "ru"},
    {"country": "RU"},
    {"country": "rU"},
    {"categories": []},
    {"categories": ["ab", "я" * 20]},
    {"categories": ["Same", "same", "same"]},
    {"categories": [f"category {n}" for n in range(20)]},
    {"age_from": 18, "age_until": 65, "country": "Fr", "categories": ["food"]},
]
INVALID: list[tuple[Any, str]] = [
    ({"age_from": -1}, "/age_from"),
    ({"age_from": 101}, "/age_from"),
    ({"age_from": "18"}, "/age_from"),
    ({"age_from": 18.5}, "/age_from"),
    ({"age_from": True}, "/age_from"),
    ({"age_from": None}, "/age_from"),
    ({"age_until": -1}, "/age_until"),
    ({"age_until": 101}, "/age_until"),
    ({"age_until": 10**20}, "/age_until"),
    ({"age_until": None}, "/age_until"),
    ({"age_from": 31, "age_until": 30}, "/age_until"),
    ({"age_from": 100, "age_until": 0}, "/age_until"),
    ({"country": "aa"}, "/country"),
    ({"country": "UK"}, "/country"),
    ({"country": "rus"}, "/country"),
    ({"country": ""}, "/country"),
    ({"country": None}, "/country"),
    ({"country": ["ru"]}, "/country"),
    ({"categories": ["a"]}, "/categories/0"),
    ({"categories": ["ab", "c" * 21]}, "/categories/1"),
    ({"categories": ["ab", 12]}, "/categories/1"),
    ({"categories": ["ab", None]}, "/categories/1"),
    ({"categories": ["a\x00b"]}, "/categories/0"),
    ({"categories": [f"category {n}" for n in range(21)]}, "/categories"),
    ({"categories": "food"}, "/categories"),
    ({"categories": None}, "/categories"),
    ({"cities": ["Moscow"]}, "/cities"),
    ([], ""),
    ("ru", ""),
]


def _pointers(response: Any) -> set[str]:
    assert response.status_code == 400, response.text
    return {detail["pointer"] for detail in response.json()["details"]}


@all_cases("target", VALID)
def test_target_of_a_new_promo(company: Account, target: dict[str, Any]) -> None:
    """A valid target is stored, and returned exactly as it was sent."""
    promo_id = company.create_promo(target=target)
    assert company.get(f"{PROMO}/{promo_id}").json()["target"] == target


@all_cases("target", VALID)
def test_target_of_a_change(company: Account, target: dict[str, Any]) -> None:
    """A target in a patch replaces the whole old target."""
    old = {"age_from": 1, "age_until": 99, "country": "de", "categories": ["old"]}
    promo_id = company.create_promo(target=old)
    assert company.patch(f"{PROMO}/{promo_id}", json={"target": target}).json()["target"] == target
    assert company.get(f"{PROMO}/{promo_id}").json()["target"] == target


@all_cases(("target", "pointer"), INVALID)
def test_invalid_target_of_a_new_promo(company: Account, target: object, pointer: str) -> None:
    """An invalid target is refused, and no promo is created."""
    assert _pointers(company.post(PROMO, json=promo_body(target=target))) == {f"/target{pointer}"}
    assert company.get(PROMO).headers["x-total-count"] == "0"


@all_cases(("target", "pointer"), [*INVALID, (None, "")])
def test_invalid_target_of_a_change(company: Account, target: object, pointer: str) -> None:
    """An invalid target refuses the whole patch."""
    promo_id = company.create_promo(target={"country": "de", "age_from": 1})
    before = company.get(f"{PROMO}/{promo_id}").json()
    patch = {"description": "A new description", "max_count": 7, "target": target}
    assert _pointers(company.patch(f"{PROMO}/{promo_id}", json=patch)) == {f"/target{pointer}"}
    assert company.get(f"{PROMO}/{promo_id}").json() == before
