"""The state of a promo, pauses, the archive, and the limit per user."""

from contextlib import suppress
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from persistence.promos.promos import find_promo
from persistence.schema.tables import promos
from promo_api.runtime import Runtime
from tests.accounts import Account, Api

PROMO = "/business/promo"
_REFUSED: dict[str, dict[str, Any]] = {
    "archived": {"code": "promo_archived", "reasons": ["archived"]},
    "paused": {"code": "promo_paused", "reasons": ["paused"]},
}


def _patch(company: Account, promo_id: str, **changes: Any) -> Any:
    response = company.patch(f"{PROMO}/{promo_id}", json=changes)
    assert response.status_code == 200, response.text
    return response.json()


def _activate(user: Account, promo_id: str) -> Any:
    return user.post(f"/user/promo/{promo_id}/activate")


def _new_feed() -> tuple[str, dict[str, Any]]:
    """Return the URL of a feed without promos, and the target of promos for it."""
    category = f"category {uuid4().hex}"[:20]
    return f"/user/feed?category={category}", {"categories": [category]}


def _ids(listed: Any) -> list[str]:
    assert int(listed.headers["x-total-count"]) == len(listed.json())
    return [promo["promo_id"] for promo in listed.json()]


def test_states_in_order(company: Account, user: Account, runtime: Runtime) -> None:
    """A promo has the first state that applies: archived, paused, scheduled, expired, exhausted, active."""
    today = runtime.today()
    tomorrow, yesterday = (str(today + timedelta(days=days)) for days in (1, -1))
    promo_id = company.create_promo(max_count=1)
    states = [company.get(f"{PROMO}/{promo_id}").json()["state"]]
    assert _activate(user, promo_id).status_code == 200
    states.append(company.get(f"{PROMO}/{promo_id}").json()["state"])
    for changes in (
        {"active_until": yesterday},
        {"active_from": tomorrow, "active_until": None},
        {"paused": True},
        {"archived": True},
    ):
        promo = _patch(company, promo_id, **changes)
        assert promo["active"] is False
        states.append(promo["state"])
    assert states == ["active", "exhausted", "expired", "scheduled", "paused", "archived"]


@pytest.mark.parametrize("member", ["paused", "archived"])
@pytest.mark.parametrize("codes", [{}, {"promo_unique": ["one", "two"]}], ids=["COMMON", "UNIQUE"])
def test_stopped_promo(company: Account, user: Account, member: str, codes: dict[str, Any]) -> None:
    """A paused or archived promo refuses activations with its reason until the change is undone."""
    promo_id = company.create_promo(**codes)
    assert _patch(company, promo_id, **{member: True})[member] is True
    refused = _activate(user, promo_id)
    assert refused.status_code == 403
    assert _REFUSED[member].items() <= refused.json().items()
    eligibility = user.get(f"/user/promo/{promo_id}/eligibility").json()
    assert eligibility == {"eligible": False, "reasons": [member]}
    assert member not in _patch(company, promo_id, **{member: False})
    assert _activate(user, promo_id).status_code == 200
    assert company.get(f"{PROMO}/{promo_id}/stat").json()["activations_count"] == 1


def test_paused_promo_in_feeds(company: Account, user: Account) -> None:
    """A paused promo stays in the feed as inactive, and leaves the feed of active promos, with exact totals."""
    feed, target = _new_feed()
    promo_id, other_id = company.create_promo(target=target), company.create_promo(target=target)
    _patch(company, promo_id, paused=True)
    assert _ids(user.get(feed)) == [other_id, promo_id]
    assert _ids(user.get(f"{feed}&active=true")) == [other_id]
    assert _ids(user.get(f"{feed}&active=false")) == [promo_id]
    assert user.get(f"/user/promo/{promo_id}").json()["active"] is False
    assert _ids(company.get(PROMO)) == [other_id, promo_id]
    _patch(company, promo_id, paused=False)
    assert _ids(user.get(f"{feed}&active=true")) == [other_id, promo_id]


def test_archived_promo_in_lists(company: Account, user: Account) -> None:
    """An archived promo is in no feed and not in the company's list, but can be read, and its history stays."""
    feed, target = _new_feed()
    promo_id, other_id = company.create_promo(target=target), company.create_promo(target={**target, "country": "ru"})
    assert _activate(user, promo_id).status_code == 200
    _patch(company, promo_id, archived=True)
    for query, listed in (("", [other_id]), ("&active=true", [other_id]), ("&active=false", [])):
        assert _ids(user.get(f"{feed}{query}")) == listed
    for query in ("", "?country=ru", "?sort_by=active_from", "?country=ru&sort_by=active_until"):
        assert _ids(company.get(f"{PROMO}{query}")) == [other_id]
    assert company.get(f"{PROMO}/{promo_id}").json()["state"] == "archived"
    assert user.get(f"/user/promo/{promo_id}").json()["is_activated_by_user"] is True
    assert _ids(user.get("/user/promo/history")) == [promo_id]
    # Changed while it is archived: it returns with the new target.
    _patch(company, promo_id, target={**target, "country": "us"}, max_count=7)
    assert _ids(user.get(feed)) == [other_id]
    _patch(company, promo_id, archived=False)
    assert _ids(user.get(feed)) == [other_id]
    assert _ids(company.get(f"{PROMO}?country=us")) == [promo_id]
    _patch(company, promo_id, target=target)
    assert _ids(user.get(f"{feed}&active=true")) == [other_id, promo_id]


def test_audit_log_of_a_pause(company: Account) -> None:
    """The audit log has each pause, archive and limit with its old and new value; a repeated one is no change."""
    promo_id = company.create_promo(max_per_user=2)
    for changes in ({"paused": True}, {"paused": True}, {"paused": False, "archived": True}, {"max_per_user": None}):
        _patch(company, promo_id, **changes)
    changes = [entry.get("changes") for entry in company.get(f"{PROMO}/{promo_id}/changes").json()]
    assert changes == [
        {"max_per_user": {"from": 2}},
        {"paused": {"from": True}, "archived": {"to": True}},
        {"paused": {"to": True}},
        None,
    ]


@pytest.mark.parametrize("codes", [{}, {"promo_unique": ["one", "two", "three", "four"]}], ids=["COMMON", "UNIQUE"])
def test_limit_per_user(api: Api, company: Account, user: Account, codes: dict[str, Any]) -> None:
    """A user activates a promo max_per_user times; a raised or removed limit counts at once."""
    promo_id = company.create_promo(max_per_user=1, **codes)
    assert company.get(f"{PROMO}/{promo_id}").json()["max_per_user"] == 1
    assert _activate(user, promo_id).status_code == 200
    refused = _activate(user, promo_id)
    assert (refused.status_code, refused.json()["code"], refused.json()["reasons"]) == (
        403,
        "user_limit",
        ["user_limit"],
    )
    assert user.get(f"/user/promo/{promo_id}/eligibility").json()["reasons"] == ["user_limit"]
    assert _activate(api.sign_up_user(), promo_id).status_code == 200
    _patch(company, promo_id, max_per_user=2)
    assert [_activate(user, promo_id).status_code for _ in range(2)] == [200, 403]
    assert "max_per_user" not in _patch(company, promo_id, max_per_user=None)
    assert _activate(user, promo_id).status_code == 200


def test_limit_counts_earlier_activations(company: Account, user: Account) -> None:
    """A limit that is set later counts the activations before it."""
    promo_id = company.create_promo()
    assert [_activate(user, promo_id).status_code for _ in range(3)] == [200, 200, 200]
    _patch(company, promo_id, max_per_user=3)
    assert _activate(user, promo_id).json()["code"] == "user_limit"


@pytest.mark.parametrize("limit", [0, 1001, -1, 1.5, "3", True])
def test_invalid_limits(company: Account, limit: object) -> None:
    """A limit per user is an integer from 1 to 1000; pauses and archives are booleans, not null."""
    promo_id = company.create_promo()
    before = company.get(f"{PROMO}/{promo_id}").json()
    for body in ({"max_per_user": limit}, {"paused": None}, {"archived": "true"}):
        assert company.patch(f"{PROMO}/{promo_id}", json=body).status_code == 400
    assert company.get(f"{PROMO}/{promo_id}").json() == before


def test_issued_code_has_its_activation(company: Account, user: Account, runtime: Runtime) -> None:
    """An issued code has the time and the country of its activation, and none has them before."""
    promo_id = company.create_promo(promo_unique=["one", "two"])
    assert _activate(user, promo_id).json() == {"promo": "one"}
    with runtime.database.autocommit() as connection:
        rows = connection.exec_driver_sql(
            "SELECT value, codes.activation_id = activations.id, codes.country_key, issued_at >= activated_at"
            " FROM promo_codes AS codes LEFT JOIN activations USING (promo_id)"
            " WHERE promo_id = %(promo)s ORDER BY position",
            {"promo": promo_id},
        ).all()
    assert [tuple(row) for row in rows] == [("one", True, "ru", True), ("two", None, None, None)]


class _Undone(Exception):
    """Ends a transaction with a rollback."""


def test_states_agree_with_active(company: Account, runtime: Runtime) -> None:
    """For every combination of what ends a promo, `active` is true if and only if the state is `active`."""
    today, day = runtime.today(), timedelta(days=1)
    promo_ids = [company.create_promo(max_count=max_count) for max_count in (0, 1)]
    periods = [(None, None), (today + day, None), (None, today - day)]
    states = set()
    for promo_id, (begins, ends), paused, archived in product(promo_ids, periods, (False, True), (False, True)):
        values = {"active_from": begins, "active_until": ends, "paused": paused, "archived": archived}
        with suppress(_Undone), runtime.database.transaction() as connection:
            connection.execute(update(promos).where(promos.c.id == promo_id).values(values))
            promo = find_promo(connection, UUID(promo_id), today)
            assert promo is not None
            assert promo.active is (promo.state == "active"), promo
            states.add(promo.state)
            raise _Undone
    assert states == {"archived", "paused", "scheduled", "expired", "exhausted", "active"}
