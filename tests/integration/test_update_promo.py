"""Changes of a promo by its company."""

from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import Account, Api
from tests.cases import all_cases

PROMO = "/business/promo"
CHANGES: list[tuple[str, Any]] = [
    ("description", "d" * 10),
    ("description", "ж" * 300),
    ("image_url", "https://example.com/new.png"),
    ("target", {"country": "Fr"}),
    ("max_count", 0),
    ("max_count", 100_000_000),
    ("active_from", "2025-01-10"),
    ("active_until", "2999-01-10"),
]


@pytest.fixture
def company(api: Api) -> Account:
    """A company without promos."""
    return api.sign_up_company()


def _shown(company: Account, promo_id: str) -> Any:
    return company.get(f"{PROMO}/{promo_id}").json()


def _refused(company: Account, promo_id: str, patch: object) -> set[str]:
    """Send a patch that must be refused and change nothing; return the pointers to what is wrong with it."""
    before = _shown(company, promo_id)
    answer = company.patch(f"{PROMO}/{promo_id}", json=patch)
    assert answer.status_code == 400, answer.text
    assert _shown(company, promo_id) == before
    return {detail["pointer"] for detail in answer.json()["details"]}


@pytest.mark.parametrize(("member", "value"), CHANGES)
def test_a_member_is_changed_alone(company: Account, member: str, value: object) -> None:
    """A member that is given takes the place of the old one, and nothing else changes."""
    promo_id = company.create_promo(
        image_url="https://example.com/old",
        target={"age_from": 18},
        active_from="2020-01-01",
        active_until="2998-01-01",
    )
    wanted = _shown(company, promo_id) | {member: value, "active": value != 0}
    assert company.patch(f"{PROMO}/{promo_id}", json={member: value}).json() == wanted
    assert _shown(company, promo_id) == wanted


def test_all_members_are_changed_at_once(company: Account) -> None:
    """All members that can be changed are changed by one request, also those that had no value before."""
    promo_id = company.create_promo()
    patch = dict(CHANGES) | {"max_count": 3}
    wanted = _shown(company, promo_id) | patch
    assert company.patch(f"{PROMO}/{promo_id}", json=patch).json() == wanted
    assert _shown(company, promo_id) == wanted


@pytest.mark.parametrize("changes", [{}, {"promo_unique": ["one", "two"]}])
def test_empty_patch_changes_nothing(company: Account, changes: dict[str, Any]) -> None:
    """An empty patch is a success that leaves the promo as it was."""
    promo_id = company.create_promo(**changes)
    before = _shown(company, promo_id)
    assert company.patch(f"{PROMO}/{promo_id}", json={}).json() == before
    assert _shown(company, promo_id) == before


def test_other_promos_stay(company: Account) -> None:
    """A patch changes the promo that it names, and no other."""
    promo_id, other_id = company.create_promo(), company.create_promo()
    before = _shown(company, other_id)
    company.patch(f"{PROMO}/{promo_id}", json=dict(CHANGES))
    assert _shown(company, other_id) == before


@all_cases(
    ("member", "value"),
    [
        ("description", "d" * 9),
        ("description", "d" * 301),
        ("description", "a long\x00description"),
        ("image_url", ""),
        ("image_url", "https://"),
        ("image_url", "https://example.com/" + "p" * 331),
        ("max_count", -1),
        ("max_count", 100_000_001),
        ("max_count", "5"),
        ("max_count", 5.0),
        ("active_from", "2025-02-29"),
        ("active_until", "10.01.2025"),
    ],
)
def test_one_bad_member_changes_nothing(company: Account, member: str, value: object) -> None:
    """A member out of its bounds refuses the whole patch, what was good in it too."""
    patch = {"description": "A new description", "target": {"country": "fr"}, "max_count": 7}
    assert _refused(company, company.create_promo(), patch | {member: value}) == {f"/{member}"}


@pytest.mark.parametrize("member", ["description", "image_url", "target", "max_count", "active_from", "active_until"])
def test_null_is_no_value(company: Account, member: str) -> None:
    """A null is refused: nothing is taken away by it."""
    assert _refused(company, company.create_promo(), {member: None}) == {f"/{member}"}


@all_cases(
    ("member", "value"),
    [
        ("mode", "COMMON"),
        ("mode", "UNIQUE"),
        ("promo_common", "other-value"),
        ("promo_unique", ["one", "two", "three"]),
        ("promo_id", "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63"),
        ("active", False),
        ("used_count", 0),
        ("no_such", 1),
    ],
)
@all_cases("changes", [{}, {"promo_unique": ["one", "two"]}])
def test_what_can_not_be_changed(company: Account, changes: dict[str, Any], member: str, value: object) -> None:
    """Mode, values, counts and what is not known can't be changed, not even to what they are."""
    promo_id = company.create_promo(**changes)
    assert _refused(company, promo_id, {"description": "A new description", member: value}) == {f"/{member}"}


@pytest.mark.parametrize("patch", [None, [], "description", 5])
def test_patch_is_an_object(company: Account, patch: object) -> None:
    """A patch is an object."""
    assert _refused(company, company.create_promo(), patch) == {""}


def test_limit_below_uses_equal_and_raised(api: Api, company: Account) -> None:
    """max_count below used_count is refused; equal, it makes the promo inactive; raised again, active again."""
    user, promo_id = api.sign_up_user(), company.create_promo(max_count=5)
    path = f"/user/promo/{promo_id}/activate"
    assert [user.post(path).status_code for _ in range(2)] == [200, 200]
    assert _refused(company, promo_id, {"max_count": 1, "description": "A new description"}) == {"/max_count"}
    assert company.patch(f"{PROMO}/{promo_id}", json={"max_count": 2}).json()["active"] is False
    assert user.post(path).status_code == 403
    raised = company.patch(f"{PROMO}/{promo_id}", json={"max_count": 3}).json()
    assert (raised["active"], raised["used_count"], raised["max_count"]) == (True, 2, 3)
    assert [user.post(path).status_code for _ in range(2)] == [200, 403]


def test_limit_of_0_before_any_use(api: Api, company: Account) -> None:
    """max_count 0 is allowed while there are no uses, and stops the promo."""
    promo_id = company.create_promo()
    assert company.patch(f"{PROMO}/{promo_id}", json={"max_count": 0}).json()["active"] is False
    assert api.sign_up_user().post(f"/user/promo/{promo_id}/activate").status_code == 403


@pytest.mark.parametrize("max_count", [0, 2, 100])
def test_limit_of_unique_is_1(company: Account, max_count: int) -> None:
    """A UNIQUE promo refuses any max_count but 1, whatever else is in the patch."""
    promo_id = company.create_promo(promo_unique=["one", "two"])
    patch = {"description": "A new description", "max_count": max_count}
    assert _refused(company, promo_id, patch) == {"/max_count"}


def test_limit_of_unique_stays_the_number_of_values(api: Api, company: Account) -> None:
    """max_count 1 for a UNIQUE promo is a success that keeps all its values to be had, also when some are gone."""
    user, promo_id = api.sign_up_user(), company.create_promo(promo_unique=["one", "two", "three"])
    issued = []
    for _ in range(3):
        shown = company.patch(f"{PROMO}/{promo_id}", json={"max_count": 1}).json()
        assert (shown["max_count"], shown["active"]) == (1, True)
        issued.append(user.post(f"/user/promo/{promo_id}/activate").json()["promo"])
    assert sorted(issued) == ["one", "three", "two"]


@pytest.mark.parametrize(
    "patch",
    [
        {"active_from": "2025-01-21"},
        {"active_until": "2025-01-09"},
        {"active_from": "2025-01-12", "active_until": "2025-01-11"},
        {"active_from": "2025-01-21", "description": "A new description", "max_count": 7},
    ],
)
def test_period_is_held_against_the_stored_side(company: Account, patch: dict[str, Any]) -> None:
    """A period that would end before it begins is refused, whether both sides are given or one is stored."""
    promo_id = company.create_promo(active_from="2025-01-10", active_until="2025-01-20")
    assert len(_refused(company, promo_id, patch)) == 1


@pytest.mark.parametrize(
    "patch",
    [
        {"active_from": "2025-01-20"},
        {"active_until": "2025-01-10"},
        {"active_from": "2026-01-01", "active_until": "2026-01-01"},
        {"active_from": "2024-01-01", "active_until": "2024-02-01"},
    ],
)
def test_period_may_be_moved(company: Account, patch: dict[str, Any]) -> None:
    """A period of one day is one, and both sides may move beyond the stored ones together."""
    promo_id = company.create_promo(active_from="2025-01-10", active_until="2025-01-20")
    wanted = _shown(company, promo_id) | patch
    assert company.patch(f"{PROMO}/{promo_id}", json=patch).json() == wanted


def test_promo_of_another_company_stays(api: Api, company: Account) -> None:
    """A company may not change the promo of another, and of none it is told that there is none."""
    promo_id, other = company.create_promo(), api.sign_up_company()
    before = _shown(company, promo_id)
    for patch in ({"description": "A new description"}, {}, {"max_count": 0}):
        assert other.patch(f"{PROMO}/{promo_id}", json=patch).status_code == 403
        assert other.patch(f"{PROMO}/{uuid4()}", json=patch).status_code == 404
    assert _shown(company, promo_id) == before


@pytest.mark.parametrize(
    "patch",
    [
        {"description": "short"},
        {"mode": "UNIQUE"},
        {"active_from": "2025-01-11", "active_until": "2025-01-10"},
        {"target": {"age_from": 31, "age_until": 30}},
    ],
)
def test_form_comes_before_existence_and_ownership(api: Api, company: Account, patch: dict[str, Any]) -> None:
    """What is wrong with the patch alone is told before it is asked whether there is the promo, and whose it is."""
    promo_id, other = company.create_promo(), api.sign_up_company()
    assert other.patch(f"{PROMO}/{promo_id}", json=patch).status_code == 400
    assert other.patch(f"{PROMO}/{uuid4()}", json=patch).status_code == 400


def test_ownership_comes_before_what_is_stored(api: Api, company: Account) -> None:
    """What is wrong with the patch only beside the stored promo is not told to another company."""
    promo_id = company.create_promo(active_from="2025-01-10", promo_unique=["one", "two"])
    other = api.sign_up_company()
    assert other.patch(f"{PROMO}/{promo_id}", json={"max_count": 5}).status_code == 403
    assert other.patch(f"{PROMO}/{promo_id}", json={"active_until": "2025-01-01"}).status_code == 403
