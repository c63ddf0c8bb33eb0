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
    ("max_per_user", 1),
    ("max_per_user", 1000),
    ("paused", True),
    ("archived", True),
]
# What a change ends.
_STATES: dict[tuple[str, Any], dict[str, Any]] = {
    ("max_count", 0): {"active": False, "state": "exhausted"},
    ("paused", True): {"active": False, "state": "paused"},
    ("archived", True): {"active": False, "state": "archived"},
}


def _read(company: Account, promo_id: str) -> Any:
    return company.get(f"{PROMO}/{promo_id}").json()


def _refusal(company: Account, promo_id: str, patch: object) -> set[str]:
    """Send a patch that must be refused and change nothing; return the pointers of the errors."""
    before = _read(company, promo_id)
    response = company.patch(f"{PROMO}/{promo_id}", json=patch)
    assert response.status_code == 400, response.text
    assert _read(company, promo_id) == before
    return {detail["pointer"] for detail in response.json()["details"]}


def _state_after(member: str, value: Any) -> dict[str, Any]:
    return _STATES[member, value] if member in ("paused", "archived") or value == 0 else {}


@pytest.mark.parametrize(("member", "value"), CHANGES)
def test_a_member_is_changed_alone(company: Account, member: str, value: Any) -> None:
    """A patch of one member replaces it and changes nothing else."""
    promo_id = company.create_promo(
        image_url="https://example.com/old",
        target={"age_from": 18},
        active_from="2020-01-01",
        active_until="2998-01-01",
    )
    expected = _read(company, promo_id) | {member: value} | _state_after(member, value)
    assert company.patch(f"{PROMO}/{promo_id}", json={member: value}).json() == expected
    assert _read(company, promo_id) == expected


def test_all_members_are_changed_at_once(company: Account) -> None:
    """One patch can change all members that can change, also those without a value before."""
    promo_id = company.create_promo()
    patch = dict(CHANGES) | {"max_count": 3}
    expected = _read(company, promo_id) | patch | _STATES["archived", True]
    assert company.patch(f"{PROMO}/{promo_id}", json=patch).json() == expected
    assert _read(company, promo_id) == expected


@pytest.mark.parametrize("changes", [{}, {"promo_unique": ["one", "two"]}])
def test_empty_patch_changes_nothing(company: Account, changes: dict[str, Any]) -> None:
    """An empty patch succeeds and changes nothing."""
    promo_id = company.create_promo(**changes)
    before = _read(company, promo_id)
    assert company.patch(f"{PROMO}/{promo_id}", json={}).json() == before
    assert _read(company, promo_id) == before


def test_other_promos_stay(company: Account) -> None:
    """A patch changes no other promo."""
    promo_id, other_id = company.create_promo(), company.create_promo()
    before = _read(company, other_id)
    company.patch(f"{PROMO}/{promo_id}", json=dict(CHANGES))
    assert _read(company, other_id) == before


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
def test_one_invalid_member_changes_nothing(company: Account, member: str, value: object) -> None:
    """One invalid member refuses the whole patch."""
    patch = {"description": "A new description", "target": {"country": "fr"}, "max_count": 7}
    assert _refusal(company, company.create_promo(), patch | {member: value}) == {f"/{member}"}


@pytest.mark.parametrize("member", ["description", "target", "max_count", "mode"])
def test_null_is_refused(company: Account, member: str) -> None:
    """A member that every promo has cannot be removed: null is refused."""
    assert _refusal(company, company.create_promo(), {member: None}) == {f"/{member}"}


_REMOVABLE = {"image_url": "https://example.com/old", "active_from": "2020-01-01", "active_until": "2998-01-01"}


@pytest.mark.parametrize("members", [*([name] for name in _REMOVABLE), [*_REMOVABLE]])
def test_null_removes_a_value(company: Account, members: list[str]) -> None:
    """A null removes the value, so the member is left out of the promo. Repeating the patch changes nothing."""
    promo_id = company.create_promo(**_REMOVABLE)
    expected = {name: value for name, value in _read(company, promo_id).items() if name not in members}
    for _ in range(2):
        response = company.patch(f"{PROMO}/{promo_id}", json=dict.fromkeys(members))
        assert (response.status_code, response.json()) == (200, expected)
    assert _read(company, promo_id) == expected


@pytest.mark.parametrize(
    ("period", "members"),
    [
        ({"active_until": "2020-01-01"}, ["active_until"]),
        ({"active_from": "2998-01-01"}, ["active_from"]),
        ({"active_from": "2998-01-01", "active_until": "2999-01-01"}, ["active_from", "active_until"]),
    ],
)
def test_removed_date_makes_a_promo_active(
    api: Api, company: Account, period: dict[str, str], members: list[str]
) -> None:
    """Without the date that makes it inactive, a promo is active: for the company, in feeds, and for activations."""
    category, user = f"removed {len(period)} {members[0]}"[:20], api.sign_up_user()
    promo_id = company.create_promo(target={"categories": [category]}, **period)
    active = f"/user/feed?category={category}&active=true"
    assert user.get(active).headers["X-Total-Count"] == "0"
    assert company.patch(f"{PROMO}/{promo_id}", json=dict.fromkeys(members)).json()["active"] is True
    assert [promo["promo_id"] for promo in user.get(active).json()] == [promo_id]
    assert user.get(active).headers["X-Total-Count"] == "1"
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200


def test_one_date_is_removed_and_the_other_moved(company: Account) -> None:
    """A date that is removed does not limit the new other date."""
    promo_id = company.create_promo(active_from="2025-01-10", active_until="2025-01-20")
    for patch in (
        {"active_from": None, "active_until": "2024-01-01"},
        {"active_from": "2026-01-01", "active_until": None},
    ):
        response = company.patch(f"{PROMO}/{promo_id}", json=patch)
        assert response.status_code == 200, response.text
        assert {name: response.json().get(name) for name in patch} == patch


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
def test_read_only_members(company: Account, changes: dict[str, Any], member: str, value: object) -> None:
    """Mode, codes, counts and unknown members are refused, even with their current value."""
    promo_id = company.create_promo(**changes)
    assert _refusal(company, promo_id, {"description": "A new description", member: value}) == {f"/{member}"}


@pytest.mark.parametrize("patch", [None, [], "description", 5])
def test_patch_is_an_object(company: Account, patch: object) -> None:
    """A patch that is not a JSON object is refused."""
    assert _refusal(company, company.create_promo(), patch) == {""}


def test_limit_below_uses_equal_and_raised(api: Api, company: Account) -> None:
    """max_count below used_count is refused; equal, it makes the promo inactive; raised again, active again."""
    user, promo_id = api.sign_up_user(), company.create_promo(max_count=5)
    path = f"/user/promo/{promo_id}/activate"
    assert [user.post(path).status_code for _ in range(2)] == [200, 200]
    assert _refusal(company, promo_id, {"max_count": 1, "description": "A new description"}) == {"/max_count"}
    assert company.patch(f"{PROMO}/{promo_id}", json={"max_count": 2}).json()["active"] is False
    assert user.post(path).status_code == 403
    raised = company.patch(f"{PROMO}/{promo_id}", json={"max_count": 3}).json()
    assert (raised["active"], raised["used_count"], raised["max_count"]) == (True, 2, 3)
    assert [user.post(path).status_code for _ in range(2)] == [200, 403]


def test_limit_of_0_before_any_use(api: Api, company: Account) -> None:
    """A max_count of 0 is allowed without uses, and makes the promo inactive."""
    promo_id = company.create_promo()
    assert company.patch(f"{PROMO}/{promo_id}", json={"max_count": 0}).json()["active"] is False
    assert api.sign_up_user().post(f"/user/promo/{promo_id}/activate").status_code == 403


@pytest.mark.parametrize("max_count", [0, 2, 100])
def test_limit_of_unique_is_1(company: Account, max_count: int) -> None:
    """A UNIQUE promo refuses any max_count but 1, and the message says how to stop the promo, which works."""
    promo_id = company.create_promo(promo_unique=["one", "two"])
    patch = {"description": "A new description", "max_count": max_count}
    assert _refusal(company, promo_id, patch) == {"/max_count"}
    [violation] = company.patch(f"{PROMO}/{promo_id}", json=patch).json()["details"]
    assert violation["message"].endswith("to stop the promo, set paused to true")
    assert company.patch(f"{PROMO}/{promo_id}", json={"paused": True}).json()["active"] is False


def test_limit_of_unique_keeps_its_codes(api: Api, company: Account) -> None:
    """A max_count of 1 for a UNIQUE promo succeeds, and all its codes stay available."""
    user, promo_id = api.sign_up_user(), company.create_promo(promo_unique=["one", "two", "three"])
    issued = []
    for _ in range(3):
        promo = company.patch(f"{PROMO}/{promo_id}", json={"max_count": 1}).json()
        assert (promo["max_count"], promo["active"]) == (1, True)
        issued.append(user.post(f"/user/promo/{promo_id}/activate").json()["promo"])
    assert sorted(issued) == ["one", "three", "two"]


_ENDS_TOO_EARLY = {"in": "body", "pointer": "/active_until", "message": "must not be before active_from"}
_BEGINS_TOO_LATE = {"in": "body", "pointer": "/active_from", "message": "must not be after active_until"}


@pytest.mark.parametrize(
    ("patch", "violation"),
    [
        ({"active_from": "2025-01-21"}, _BEGINS_TOO_LATE),
        ({"active_until": "2025-01-09"}, _ENDS_TOO_EARLY),
        ({"active_from": "2025-01-12", "active_until": "2025-01-11"}, _ENDS_TOO_EARLY),
        ({"active_from": "2025-01-21", "description": "A new description", "max_count": 7}, _BEGINS_TOO_LATE),
    ],
)
def test_period_is_compared_with_stored_dates(
    company: Account, patch: dict[str, Any], violation: dict[str, str]
) -> None:
    """A period that ends before it starts is refused, also if one of the dates is stored. The error is at the other."""
    promo_id = company.create_promo(active_from="2025-01-10", active_until="2025-01-20")
    assert _refusal(company, promo_id, patch) == {violation["pointer"]}
    assert company.patch(f"{PROMO}/{promo_id}", json=patch).json()["details"] == [violation]


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
    """A period may be a single day, and a patch may move both dates beyond the stored ones."""
    promo_id = company.create_promo(active_from="2025-01-10", active_until="2025-01-20")
    expected = _read(company, promo_id) | patch
    assert company.patch(f"{PROMO}/{promo_id}", json=patch).json() == expected


def test_promo_of_another_company_stays(api: Api, company: Account) -> None:
    """A company cannot change the promo of another company; an unknown promo is 404."""
    promo_id, other = company.create_promo(), api.sign_up_company()
    before = _read(company, promo_id)
    for patch in ({"description": "A new description"}, {}, {"max_count": 0}):
        assert other.patch(f"{PROMO}/{promo_id}", json=patch).status_code == 403
        assert other.patch(f"{PROMO}/{uuid4()}", json=patch).status_code == 404
    assert _read(company, promo_id) == before


@pytest.mark.parametrize(
    "patch",
    [
        {"description": "short"},
        {"mode": "UNIQUE"},
        {"active_from": "2025-01-11", "active_until": "2025-01-10"},
        {"target": {"age_from": 31, "age_until": 30}},
    ],
)
def test_validation_comes_before_existence_and_ownership(api: Api, company: Account, patch: dict[str, Any]) -> None:
    """A patch that is invalid on its own is 400, even for an unknown or another company's promo."""
    promo_id, other = company.create_promo(), api.sign_up_company()
    assert other.patch(f"{PROMO}/{promo_id}", json=patch).status_code == 400
    assert other.patch(f"{PROMO}/{uuid4()}", json=patch).status_code == 400


def test_ownership_comes_before_stored_values(api: Api, company: Account) -> None:
    """A patch that conflicts with stored values is 403 for another company."""
    promo_id = company.create_promo(active_from="2025-01-10", promo_unique=["one", "two"])
    other = api.sign_up_company()
    assert other.patch(f"{PROMO}/{promo_id}", json={"max_count": 5}).status_code == 403
    assert other.patch(f"{PROMO}/{promo_id}", json={"active_until": "2025-01-01"}).status_code == 403
