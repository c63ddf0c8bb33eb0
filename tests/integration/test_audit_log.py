"""The audit log of a promo: what its company changed, with the old and the new values."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, func, select

from persistence.consistency import count_mismatched_changes
from persistence.promos.changes import insert_change
from persistence.schema.audit_tables import promo_changes
from promo_api.errors import InvalidInput
from promo_api.runtime import Runtime
from tests.accounts import Account, Api, promo_body

_TARGET = {"age_from": 18, "age_until": 65, "country": "Ru", "categories": ["food", "Coffee"]}


def _changes(company: Account, promo_id: str, query: str = "") -> list[dict[str, Any]]:
    response = company.get(f"/business/promo/{promo_id}/changes{query}")
    assert response.status_code == 200, response.text
    entries: list[dict[str, Any]] = response.json()
    return entries


def _patch(company: Account, promo_id: str, status: int = 200, **changes: Any) -> None:
    response = company.patch(f"/business/promo/{promo_id}", json=changes)
    assert response.status_code == status, response.text


@pytest.mark.parametrize("codes", [{}, {"promo_unique": ["one", "two"]}], ids=["common", "unique"])
def test_creation(company: Account, codes: dict[str, Any]) -> None:
    """A new promo has one entry with company and time, without values."""
    [entry] = _changes(company, company.create_promo(**codes))
    changed_at = entry.pop("changed_at")
    assert entry == {"number": 1, "company_id": company.id, "event": "created"}
    assert changed_at.endswith("+00:00")


def test_replayed_creation(company: Account) -> None:
    """A replayed creation leaves no second entry."""
    request = {"json": promo_body(), "headers": {"Idempotency-Key": str(uuid4())}}
    [promo_id] = {company.post("/business/promo", **request).json()["id"] for _ in range(2)}
    assert len(_changes(company, promo_id)) == 1


def test_every_member(company: Account) -> None:
    """Each member is logged as the API writes it; a target is logged whole, and "from" is absent without a value."""
    promo_id = company.create_promo(max_count=7)
    patch = {
        "description": "Another description",
        "image_url": "https://coffee.example/cup.png",
        "target": _TARGET,
        "max_count": 8,
        "active_from": "2025-01-10",
        "active_until": "2025-01-20",
    }
    _patch(company, promo_id, **patch)
    before = {"description": promo_body()["description"], "target": {}, "max_count": 7}
    newest = _changes(company, promo_id)[0]
    assert (newest["number"], newest["company_id"], newest["event"]) == (2, company.id, "changed")
    assert newest["changes"] == {
        name: {**({"from": before[name]} if name in before else {}), "to": value} for name, value in patch.items()
    }
    _patch(company, promo_id, active_from="2025-01-11", target={}, image_url="https://coffee.example/pot.png")
    assert _changes(company, promo_id)[0]["changes"] == {
        "active_from": {"from": "2025-01-10", "to": "2025-01-11"},
        "target": {"from": _TARGET, "to": {}},
        "image_url": {"from": "https://coffee.example/cup.png", "to": "https://coffee.example/pot.png"},
    }


def test_removed_values(company: Account, runtime: Runtime) -> None:
    """A removed value has no "to", and the next value no "from". The audit log agrees with the promo."""
    values = {"image_url": "https://coffee.example/cup.png", "active_from": "2025-01-10", "active_until": "2025-01-20"}
    promo_id = company.create_promo(**values)
    _patch(company, promo_id, **dict.fromkeys(values))
    _patch(company, promo_id, **dict.fromkeys(values))
    _patch(company, promo_id, active_from="2025-01-11")
    again, removed, _ = _changes(company, promo_id)
    assert removed["changes"] == {name: {"from": value} for name, value in values.items()}
    assert again["changes"] == {"active_from": {"to": "2025-01-11"}}
    with runtime.database.autocommit() as connection:
        assert count_mismatched_changes(connection) == 0


def test_unchanged_members(company: Account) -> None:
    """Members that a PATCH does not change are in no entry; without any change there is no entry."""
    promo_id = company.create_promo(target=_TARGET, max_count=7, active_from="2025-01-10")
    same = {"target": _TARGET, "max_count": 7, "active_from": "2025-01-10"}
    _patch(company, promo_id, **same)
    _patch(company, promo_id)
    assert [entry["event"] for entry in _changes(company, promo_id)] == ["created"]
    _patch(company, promo_id, **same, description="Another description")
    assert [*_changes(company, promo_id)[0]["changes"]] == ["description"]
    _patch(company, promo_id, target=_TARGET | {"country": "RU"})
    assert [*_changes(company, promo_id)[0]["changes"]] == ["target"]


def test_unique_promo(company: Account) -> None:
    """`max_count` of a UNIQUE promo is always 1, so it is never logged as changed."""
    promo_id = company.create_promo(promo_unique=["one", "two", "three"])
    _patch(company, promo_id, max_count=1)
    _patch(company, promo_id, max_count=1, description="Another description")
    assert [entry.get("changes", {}).keys() for entry in _changes(company, promo_id)] == [{"description"}, set()]


def test_refused_changes(api: Api, company: Account) -> None:
    """A refused change leaves no entry."""
    promo_id = company.create_promo(max_count=7, active_from="2025-01-10", active_until="2999-01-20")
    assert api.sign_up_user().post(f"/user/promo/{promo_id}/activate").status_code == 200
    _patch(company, promo_id, 400, max_count=0, description="Another description")
    _patch(company, promo_id, 400, active_until="2025-01-09", description="Another description")
    _patch(company, promo_id, 400, max_count=-1)
    _patch(api.sign_up_company(), promo_id, 403, description="Another description")
    assert len(_changes(company, promo_id)) == 1


def test_users_leave_no_entries(api: Api, company: Account) -> None:
    """Activations and likes of users leave no entry, also when the promo becomes inactive."""
    promo_id, user = company.create_promo(max_count=1), api.sign_up_user()
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
    assert user.post(f"/user/promo/{promo_id}/like").status_code == 200
    assert company.get(f"/business/promo/{promo_id}").json()["active"] is False
    assert len(_changes(company, promo_id)) == 1


def test_pages(company: Account) -> None:
    """Entries are newest first; pages have no gap or overlap; the total counts all entries."""
    promo_id = company.create_promo(max_count=100)
    for number in range(11):
        _patch(company, promo_id, max_count=number)
    path = f"/business/promo/{promo_id}/changes"
    assert company.get(path).headers["X-Total-Count"] == "12"
    assert [entry["number"] for entry in _changes(company, promo_id)] == [*range(12, 2, -1)]
    paged = [entry for page in range(4) for entry in _changes(company, promo_id, f"?limit=5&offset={page * 5}")]
    assert paged == _changes(company, promo_id, "?limit=100")
    assert [entry["number"] for entry in paged] == [*range(12, 0, -1)]
    changes = [entry["changes"]["max_count"] for entry in paged[:-1]]
    assert [change["to"] for change in changes] == [*range(10, -1, -1)]
    assert [change["from"] for change in changes] == [*range(9, -1, -1), 100]
    assert sorted(entry["changed_at"] for entry in paged) == [entry["changed_at"] for entry in reversed(paged)]
    empty = company.get(f"{path}?limit=0")
    assert (empty.json(), empty.headers["X-Total-Count"]) == ([], "12")


def test_audit_log_of_another_company(api: Api, company: Account) -> None:
    """The log of another company's promo is refused; that of an unknown promo is 404."""
    other = api.sign_up_company()
    assert other.get(f"/business/promo/{company.create_promo()}/changes").status_code == 403
    assert other.get(f"/business/promo/{uuid4()}/changes").status_code == 404


def test_promo_older_than_the_audit_log(company: Account, runtime: Runtime) -> None:
    """A promo from before the audit log has no creation entry; its first change is number 1."""
    promo_id = company.create_promo(max_count=7)
    with runtime.database.engine.begin() as connection:
        # As if the promo were older than the log. The trigger refuses changes of the log unless it is disabled.
        connection.exec_driver_sql("ALTER TABLE promo_changes DISABLE TRIGGER append_only")
        connection.execute(delete(promo_changes).where(promo_changes.c.promo_id == promo_id))
        connection.exec_driver_sql("ALTER TABLE promo_changes ENABLE TRIGGER append_only")
    response = company.get(f"/business/promo/{promo_id}/changes")
    assert (response.json(), response.headers["X-Total-Count"]) == ([], "0")
    _patch(company, promo_id, max_count=8)
    [entry] = _changes(company, promo_id)
    assert (entry["number"], entry["changes"]) == (1, {"max_count": {"from": 7, "to": 8}})


def test_entry_and_change_are_one_transaction(
    company: Account, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the entry cannot be written, the promo does not change."""
    promo_id = company.create_promo(max_count=7)

    def fail(*arguments: Any) -> None:
        insert_change(*arguments)
        raise InvalidInput.body("", "must not be")

    monkeypatch.setattr("handlers.promo_changes.insert_change", fail)
    _patch(company, promo_id, 400, max_count=8, description="Another description")
    monkeypatch.undo()
    assert company.get(f"/business/promo/{promo_id}").json()["max_count"] == 7
    assert len(_changes(company, promo_id)) == 1
    with runtime.database.autocommit() as connection:
        entries = select(func.count()).where(promo_changes.c.promo_id == promo_id)
        assert connection.execute(entries).scalar_one() == 1
