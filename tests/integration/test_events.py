"""The types of events: what causes each, once, in the same transaction."""

from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from persistence.promos.promos import update_counters
from persistence.schema.event_tables import promo_events
from promo_api.runtime import Runtime
from tests.accounts import Account, Api, promo_body
from tests.integration.events import data_of, read, types, unpublished
from tests.integration.test_codes import finish
from tests.integration.test_redemptions import PATH as REDEMPTIONS, activate, change, redeem


def test_promo_is_created_and_changed(runtime: Runtime, company: Account) -> None:
    """A new promo and each change of it are events; a change that changes nothing is none."""
    promo_id = company.create_promo()
    before = datetime.now(UTC)
    changes = {"description": "Twenty percent off", "max_count": 5, "low_stock_percent": 20, "activation_events": True}
    company.patch(f"/business/promo/{promo_id}", json=changes)
    company.patch(f"/business/promo/{promo_id}", json=changes)
    created, changed = read(runtime, company)
    assert (created["type"], created["data"]) == ("promo.created", {"promo_id": promo_id})
    assert (changed["type"], changed["data"]) == ("promo.changed", {"promo_id": promo_id, "members": list(changes)})
    assert before < datetime.fromisoformat(changed["timestamp"]) < datetime.now(UTC)


def test_options_of_a_promo(company: Account) -> None:
    """The options of events are returned as they were set, and null clears the percentage."""
    promo_id = company.create_promo(low_stock_percent=15, activation_events=True)
    path = f"/business/promo/{promo_id}"
    promo = company.get(path).json()
    assert (promo["low_stock_percent"], promo["activation_events"]) == (15, True)
    promo = company.patch(path, json={"low_stock_percent": None, "activation_events": False}).json()
    assert promo.keys().isdisjoint({"low_stock_percent", "activation_events"})
    changes = [company.get(f"{path}/changes").json()[0]["changes"]]
    assert changes == [{"low_stock_percent": {"from": 15}, "activation_events": {"from": True}}]
    for percent in (0, 100):
        assert company.patch(path, json={"low_stock_percent": percent}).status_code == 400


@pytest.mark.parametrize("mode", [{}, {"promo_unique": ["one", "two"]}])
def test_activations_are_events_on_request(
    runtime: Runtime, company: Account, user: Account, mode: dict[str, Any]
) -> None:
    """With `activation_events` each activation is an event, without it none is."""
    quiet, loud = company.create_promo(**mode), company.create_promo(activation_events=True, **mode)
    for promo_id in (quiet, loud, loud, quiet):
        activate(user, promo_id)
    limit = 2 if mode else 1000
    assert data_of(runtime, company, "promo.activated") == [
        {"promo_id": loud, "used_count": number, "use_limit": limit} for number in (1, 2)
    ]


def test_refused_activation_is_no_event(runtime: Runtime, company: Account, user: Account) -> None:
    """An activation that was refused causes no event."""
    promo_id = company.create_promo(activation_events=True, max_count=1)
    activate(user, promo_id)
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 403
    assert types(runtime, company) == ["promo.activated", "promo.exhausted"]


@pytest.mark.parametrize("mode", [{"max_count": 2}, {"promo_unique": ["one", "two"]}])
def test_last_use_exhausts(runtime: Runtime, company: Account, user: Account, mode: dict[str, Any]) -> None:
    """The last use is reported, and again after more uses were added and used."""
    promo_id = company.create_promo(**mode)
    activate(user, promo_id)
    assert types(runtime, company) == []
    activate(user, promo_id)
    assert data_of(runtime, company, "promo.exhausted") == [{"promo_id": promo_id, "used_count": 2, "use_limit": 2}]
    if "max_count" in mode:
        company.patch(f"/business/promo/{promo_id}", json={"max_count": 3})
    else:
        finish(runtime, company, company.post(f"/business/promo/{promo_id}/codes", json=["three"]))
    activate(user, promo_id)
    assert [data["used_count"] for data in data_of(runtime, company, "promo.exhausted")] == [2, 3]


def test_lower_limit_exhausts(runtime: Runtime, company: Account, user: Account) -> None:
    """A limit that is lowered to the uses exhausts the promo, once."""
    promo_id = company.create_promo()
    activate(user, promo_id)
    for limit in (5, 1, 1):
        company.patch(f"/business/promo/{promo_id}", json={"max_count": limit})
    company.patch(f"/business/promo/{promo_id}", json={"low_stock_percent": 10})
    assert types(runtime, company).count("promo.exhausted") == 1


def test_low_stock_is_reported_once(runtime: Runtime, company: Account, user: Account) -> None:
    """Low stock is reported by the use that reaches the percentage, and by no later one."""
    promo_id = company.create_promo(max_count=5, low_stock_percent=40)
    for _ in range(2):
        activate(user, promo_id)
    assert types(runtime, company) == []
    activate(user, promo_id)
    low = {"promo_id": promo_id, "used_count": 3, "use_limit": 5, "low_stock_percent": 40}
    assert data_of(runtime, company, "promo.low_stock") == [low]
    for _ in range(2):
        activate(user, promo_id)
    assert types(runtime, company) == ["promo.low_stock", "promo.exhausted"]


def test_low_stock_is_armed_again(runtime: Runtime, company: Account, user: Account) -> None:
    """More uses or a lower percentage arm low stock again, if stock is not low any more."""
    promo_id = company.create_promo(max_count=4, low_stock_percent=50)
    path = f"/business/promo/{promo_id}"
    counts = []
    for step in (2, {"max_count": 10}, 3, {"low_stock_percent": 30}, 2, {"low_stock_percent": 60}, {"max_count": 9}):
        if isinstance(step, int):
            for _ in range(step):
                activate(user, promo_id)
        else:
            assert company.patch(path, json=step).status_code == 200
        counts.append(types(runtime, company).count("promo.low_stock"))
    assert counts == [1, 1, 2, 2, 3, 3, 3]


def test_low_stock_by_a_change(runtime: Runtime, company: Account, user: Account) -> None:
    """A change reports low stock if the stock is low after it and was not before; both values count together."""
    promo_id = company.create_promo(max_count=4, low_stock_percent=10)
    path = f"/business/promo/{promo_id}"
    for _ in range(2):
        activate(user, promo_id)
    counts = []
    for change_ in (
        {"max_count": 1000, "low_stock_percent": 50},
        {"max_count": 4},
        {"low_stock_percent": None},
        {"low_stock_percent": 50},
    ):
        assert company.patch(path, json=change_).status_code == 200
        counts.append(types(runtime, company).count("promo.low_stock"))
    assert counts == [0, 1, 1, 2]


def test_added_codes_arm_low_stock(runtime: Runtime, company: Account, user: Account) -> None:
    """Codes that are added arm low stock again."""
    promo_id = company.create_promo(promo_unique=["one", "two"], low_stock_percent=50)
    activate(user, promo_id)
    finish(runtime, company, company.post(f"/business/promo/{promo_id}/codes", json=["three", "four"]))
    activate(user, promo_id)
    used = [data["used_count"] for data in data_of(runtime, company, "promo.low_stock")]
    assert used == [1, 2]


def test_large_limits(runtime: Runtime, company: Account) -> None:
    """The percentage of the largest limit is computed without overflow."""
    promo_id = company.create_promo(max_count=100_000_000, low_stock_percent=99)
    company.patch(f"/business/promo/{promo_id}", json={"max_count": 99_999_999, "low_stock_percent": 98})
    assert types(runtime, company) == ["promo.changed"]


def test_redemptions(runtime: Runtime, company: Account, user: Account) -> None:
    """A redemption is an event when it is confirmed and when it is voided, once each; a hold is none."""
    for mode, code in (({"promo_unique": ["CUP-1"]}, "CUP-1"), ({"promo_common": "coffee"}, "coffee")):
        promo_id = company.create_promo(**mode)
        activate(user, promo_id)
        held = redeem(company, code, order_ref="A-1", hold_s=60)
        for action in ("confirm", "confirm", "void", "void"):
            assert change(company, held, action)[0] == 200
        at_once = redeem(company, code)
        released = {"promo_id": promo_id, "redemption_id": held["id"], "order_ref": "A-1"}
        events = read(runtime, company, "limit=100&type=redemption.confirmed,redemption.voided")[-3:]
        assert [(event["type"], event["data"]) for event in events] == [
            ("redemption.confirmed", released),
            ("redemption.voided", released),
            ("redemption.confirmed", {"promo_id": promo_id, "redemption_id": at_once["id"]}),
        ]


def test_released_and_refused_redemptions(runtime: Runtime, company: Account, user: Account) -> None:
    """A released hold and a refused redemption are no events."""
    activate(user, company.create_promo(promo_unique=["CUP-1", "CUP-2"]))
    change(company, redeem(company, "CUP-1", hold_s=60), "release")
    assert company.post(REDEMPTIONS, json={"code": "CUP-2"}).status_code == 409
    assert types(runtime, company) == []


def test_jobs(runtime: Runtime, company: Account) -> None:
    """A finished job is an event with its counts, and no other change of the promo."""
    promo_id = company.create_promo(promo_unique=["one", "two"])
    file = {"content": b"three\nab\nfour\n", "headers": {"Content-Type": "text/csv"}}
    job = finish(runtime, company, company.post(f"/business/promo/{promo_id}/codes", **file))
    body = {"pattern": "CUP-########", "count": 3}
    generated = finish(runtime, company, company.post(f"/business/promo/{promo_id}/codes/generate", json=body))
    names = ("kind", "state", "received", "accepted", "duplicates", "rejected")
    expected = [
        {"promo_id": promo_id, "job_id": each["id"], **{name: each[name] for name in names}}
        for each in (job, generated)
    ]
    assert data_of(runtime, company, "codes.imported") == expected
    assert types(runtime, company) == ["codes.imported"] * 2


def test_comments(runtime: Runtime, company: Account, user: Account) -> None:
    """A new comment is an event without its text; a change or removal of it is none."""
    promo_id = company.create_promo()
    path = f"/user/promo/{promo_id}/comments"
    comment_id = user.post(path, json={"text": "Very good coffee"}).json()["id"]
    user.put(f"{path}/{comment_id}", json={"text": "Very bad coffee"})
    user.delete(f"{path}/{comment_id}")
    [event] = read(runtime, company)[1:]
    assert (event["type"], event["data"]) == ("comment.created", {"promo_id": promo_id, "comment_id": comment_id})


def test_no_personal_data(runtime: Runtime, company: Account, api: Api) -> None:
    """Events contain no codes, no texts and nothing about a user, also in the database."""
    user = api.sign_up_user(name="Wilhelmina", surname="Oyelaran", country="nz")
    common = company.create_promo(promo_common="SECRET-COMMON", activation_events=True, description="A secret text")
    unique = company.create_promo(promo_unique=["SECRET-UNIQUE"], activation_events=True)
    for promo_id in (common, unique):
        user.post(f"/user/promo/{promo_id}/comments", json={"text": "A secret comment"})
        redeem(company, activate(user, promo_id))
    company.patch(f"/business/promo/{common}", json={"description": "Another secret text", "target": {"country": "nz"}})
    rows = select(promo_events).where(promo_events.c.company_id == UUID(company.id))
    with runtime.database.autocommit() as connection:
        text = str([*connection.execute(rows), *read(runtime, company)]).lower()
    claims = runtime.tokens.read(user.token, "user")
    assert claims is not None
    found = ("secret", "wilhelmina", "oyelaran", "'nz'", user.email, str(claims.account_id), "northern")
    assert [word for word in found if word in text] == []
    assert text.count("promo.activated") == 4


def test_replayed_requests(runtime: Runtime, company: Account, user: Account) -> None:
    """A replayed request causes no second event."""
    key = {"headers": {"Idempotency-Key": "1"}}
    body = promo_body(promo_common="coffee", activation_events=True)
    requests = [partial(company.post, "/business/promo", json=body, **key)]
    promo_id = requests[0]().json()["id"]
    requests += [
        partial(user.post, f"/user/promo/{promo_id}/activate", **key),
        partial(user.post, f"/user/promo/{promo_id}/comments", json={"text": "Very good coffee"}, **key),
        partial(company.post, REDEMPTIONS, json={"code": "coffee"}, **key),
    ]
    for request in requests * 2:
        assert request().status_code in (200, 201)
    names = ["promo.created", "promo.activated", "comment.created", "redemption.confirmed"]
    assert [event["type"] for event in read(runtime, company)] == names


def test_rollback(runtime: Runtime, company: Account) -> None:
    """A transaction that is rolled back leaves no event."""
    promo_id = company.create_promo(activation_events=True)
    with runtime.database.transaction() as connection:
        update_counters(connection, UUID(promo_id), {"use_limit": 0})
        assert unpublished(connection, UUID(company.id)) == ["promo.created", "promo.exhausted"]
        connection.rollback()
    with runtime.database.autocommit() as connection:
        assert unpublished(connection, UUID(company.id)) == ["promo.created"]
