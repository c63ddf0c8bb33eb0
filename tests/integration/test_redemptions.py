"""Redemption of codes: spellings, holds, transitions, several promos, lists and statistics."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, text, update

from persistence.database.engine import Database
from persistence.schema.redemption_tables import redemptions
from promo_api.folding import fold
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.integration.test_codes import finish

PATH = "/business/redemptions"


def activate(user: Account, promo_id: str) -> str:
    """Activate a promo and return its code."""
    response = user.post(f"/user/promo/{promo_id}/activate")
    assert response.status_code == 200, response.text
    code: str = response.json()["promo"]
    return code


def redeem(company: Account, code: str, **more: Any) -> dict[str, Any]:
    """Redeem or hold a code, and return the redemption."""
    response = company.post(PATH, json={"code": code, **more})
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def refused(company: Account, code: str, **more: Any) -> str:
    """Return the error code of a refused redemption, which `validate` gives as a reason too."""
    response = company.post(PATH, json={"code": code, **more})
    assert response.status_code == 409, response.text
    question = {name: value for name, value in more.items() if name == "promo_id"}
    validity = company.post(f"{PATH}/validate", json={"code": code, **question}).json()
    error: str = response.json()["code"]
    assert (validity["valid"], validity["reasons"][0]) == (False, error)
    return error


def change(company: Account, redemption: dict[str, Any], action: str) -> tuple[int, str]:
    """Confirm, release or void a redemption; return the status, and the new state or the error code."""
    response = company.post(f"{PATH}/{redemption['id']}/{action}")
    body = response.json()
    return response.status_code, body.get("code", "") if response.status_code != 200 else body["state"]


def expire(database: Database, redemption: dict[str, Any]) -> None:
    """Let a hold end a second ago."""
    with database.autocommit() as connection:
        ended = func.statement_timestamp() - text("interval '1 second'")
        connection.execute(
            update(redemptions).where(redemptions.c.id == UUID(redemption["id"])).values(held_until=ended)
        )


def test_unique_code_is_redeemed_once(company: Account, user: Account) -> None:
    """A code can be redeemed after an activation has issued it, once."""
    promo_id = company.create_promo(promo_unique=["CUP-1", "CUP-2"])
    assert refused(company, "CUP-1") == "not_issued"
    assert activate(user, promo_id) == "CUP-1"
    validity = company.post(f"{PATH}/validate", json={"code": "CUP-1"}).json()
    promo = {"promo_id": promo_id, "mode": "UNIQUE", "description": "Half of the price of any coffee"}
    assert validity == {"valid": True, "reasons": [], "promo": promo}
    redemption = redeem(company, "CUP-1", order_ref="A-1")
    expected = {"promo_id": promo_id, "code": "CUP-1", "state": "confirmed", "order_ref": "A-1"}
    assert redemption.items() >= expected.items()
    assert redemption["created_at"] == redemption["confirmed_at"]
    assert refused(company, "CUP-1", order_ref="A-1") == "already_redeemed"
    assert refused(company, "CUP-2") == "not_issued"
    assert refused(company, "CUP-3") == "unknown_code"


def test_common_code_is_redeemed_as_often_as_activated(company: Account, user: Account) -> None:
    """Redemptions and holds of a COMMON code together never exceed the activations."""
    promo_id = company.create_promo(promo_common="coffee-20")
    assert refused(company, "coffee-20") == "not_issued"
    activate(user, promo_id)
    first = redeem(company, "coffee-20", hold_s=60)
    assert refused(company, "coffee-20") == "held"
    activate(user, promo_id)
    assert redeem(company, "coffee-20")["state"] == "confirmed"
    assert change(company, first, "confirm") == (200, "confirmed")
    assert refused(company, "coffee-20") == "already_redeemed"
    assert change(company, first, "void") == (200, "voided")
    assert redeem(company, "coffee-20")["state"] == "confirmed"


@pytest.mark.parametrize(
    ("code", "entered", "is_found"),
    [
        ("Cup-1", "cUP-1", True),
        ("Cup-1", " \t\u3000cup-1\u00a0\r\n", True),
        ("Cup-1", "cup1", False),
        ("КОФЕ-1", "кофе-1", True),
        ("Straße", "STRASSE", True),
        ("\u212aaffee", "kaffee", True),
        ("\u0130zmir-\u0131l\u0131k", "izmir-ilik", True),
        ("caf\u00e9-1", "CAFE\u0301-1", True),
        ("ﬁsh-1", "FISH-1", True),
        ("one two", "ONE TWO", True),
        ("one two", "onetwo", False),
    ],
)
def test_spelling(company: Account, code: str, entered: str, is_found: bool) -> None:
    """Codes are compared without case and blanks at the ends; hyphens and blanks inside count."""
    for promo in ({"promo_unique": [code]}, {"promo_common": code}):
        promo_id = company.create_promo(**promo)
        expected = "not_issued" if is_found else "unknown_code"
        assert refused(company, entered, promo_id=promo_id) == expected


def test_hyphens_of_generated_codes(runtime: Runtime, company: Account, user: Account) -> None:
    """Hyphens of generated codes do not count, those of other codes do."""
    promo_id = company.create_promo(promo_unique=["one"])
    body = {"count": 1, "pattern": "NEW-####-####-##"}
    finish(runtime, company, company.post(f"/business/promo/{promo_id}/codes/generate", json=body))
    activate(user, promo_id)
    code = activate(user, promo_id)
    assert redeem(company, code.replace("-", "").lower())["code"] == code
    assert refused(company, f"-{code}--") == "already_redeemed"


def test_codes_that_fold_alike_have_the_same_hash(runtime: Runtime) -> None:
    """The hash of the index is equal for codes that `fold` makes equal, for all letters."""
    with runtime.database.autocommit() as connection:
        letters = [chr(number) for number in range(0x20, 0x30000) if not 0xD800 <= number < 0xE000]
        pairs = [(letter, fold(letter)) for letter in letters if fold(letter) not in ("", letter)]
        statement = text(
            "SELECT letter FROM unnest(CAST(:letters AS text[]), CAST(:keys AS text[])) AS pair (letter, key)"
            " WHERE code_hash('a' || letter || 'b') <> code_hash('a' || key || 'b')"
        )
        values = {"letters": [letter for letter, _ in pairs], "keys": [key for _, key in pairs]}
        assert len(pairs) > 1000
        assert connection.scalars(statement, values).all() == []


def test_hold(company: Account, user: Account) -> None:
    """A hold keeps others from the code, until it is released; its own order extends or confirms it."""
    promo_id = company.create_promo(promo_unique=["one"])
    activate(user, promo_id)
    held = redeem(company, "one", hold_s=60, order_ref="A")
    assert (held["state"], "confirmed_at" in held) == ("held", False)
    for order_ref in ({}, {"order_ref": "B"}):
        assert refused(company, "one", **order_ref) == "held"
    extended = redeem(company, "one", hold_s=600, order_ref="A")
    assert (extended["id"], extended["held_until"] > held["held_until"]) == (held["id"], True)
    assert redeem(company, "one", hold_s=30, order_ref="A")["held_until"] == extended["held_until"]
    assert change(company, held, "release") == (200, "released")
    again = redeem(company, "one", hold_s=60, order_ref="A")
    assert again["id"] != held["id"]
    confirmed = redeem(company, "one", order_ref="A")
    assert (confirmed["id"], confirmed["state"]) == (again["id"], "confirmed")


def test_hold_of_a_common_code(company: Account, user: Account) -> None:
    """The order of a hold extends or confirms it, although the code is used up."""
    promo_id = company.create_promo(promo_common="coffee")
    activate(user, promo_id)
    held = redeem(company, "coffee", hold_s=60, order_ref="A")
    extended = redeem(company, "coffee", hold_s=600, order_ref="A")
    assert (extended["id"], extended["held_until"] > held["held_until"]) == (held["id"], True)
    assert refused(company, "coffee", order_ref="B") == "held"
    confirmed = redeem(company, "coffee", order_ref="A")
    assert (confirmed["id"], confirmed["state"]) == (held["id"], "confirmed")


@pytest.mark.parametrize("promo", [{"promo_unique": ["coffee"]}, {"promo_common": "coffee"}])
def test_transitions(runtime: Runtime, company: Account, user: Account, promo: dict[str, Any]) -> None:
    """Each state allows its transitions, repeats its own, and refuses all others."""
    promo_id = company.create_promo(**promo)
    activate(user, promo_id)
    refusal = 409, "redemption_state"

    def state(redemption: dict[str, Any]) -> Any:
        return company.get(f"{PATH}/{redemption['id']}").json()["state"]

    released = redeem(company, "coffee", hold_s=60)
    assert change(company, released, "void") == refusal
    for _ in range(2):
        assert change(company, released, "release") == (200, "released")
    assert [change(company, released, action) for action in ("confirm", "void")] == [refusal] * 2

    expired = redeem(company, "coffee", hold_s=60)
    expire(runtime.database, expired)
    assert state(expired) == "expired"
    assert [change(company, expired, action) for action in ("release", "void")] == [refusal] * 2
    for _ in range(2):
        assert change(company, expired, "confirm") == (200, "confirmed")
    assert change(company, expired, "release") == refusal
    for _ in range(2):
        assert change(company, expired, "void") == (200, "voided")
    assert [change(company, expired, action) for action in ("confirm", "release")] == [refusal] * 2

    late = redeem(company, "coffee", hold_s=60)
    expire(runtime.database, late)
    other = redeem(company, "coffee", hold_s=60)
    assert state(late) == "expired"
    assert change(company, late, "confirm") == refusal
    assert change(company, other, "confirm") == (200, "confirmed")
    assert change(company, late, "confirm") == refusal
    assert company.post(f"{PATH}/{uuid4()}/confirm").status_code == 404


def test_equal_codes_of_a_promo(company: Account, user: Account) -> None:
    """A code that a promo has twice is redeemed once for each time that it was issued."""
    promo_id = company.create_promo(promo_unique=["same", "SAME"])
    activate(user, promo_id)
    assert redeem(company, "Same")["code"] == "same"
    assert refused(company, "same") == "already_redeemed"
    activate(user, promo_id)
    assert redeem(company, "same")["code"] == "SAME"
    assert refused(company, "SAME") == "already_redeemed"


def test_code_of_several_promos(company: Account, user: Account) -> None:
    """The promo whose code can be redeemed now is chosen; of several, the request must name one."""
    first, second = company.create_promo(promo_common="coffee"), company.create_promo(promo_unique=["COFFEE"])
    assert refused(company, "coffee") == "not_issued"
    activate(user, second)
    assert redeem(company, "coffee", hold_s=60, order_ref="A")["promo_id"] == second
    activate(user, first)
    assert redeem(company, "coffee", hold_s=60, order_ref="B")["promo_id"] == first
    activate(user, first)
    # The hold of this order, not the other promo.
    assert redeem(company, "coffee", order_ref="A")["promo_id"] == second
    third = company.create_promo(promo_unique=["coffee"])
    activate(user, third)
    response = company.post(PATH, json={"code": "coffee"})
    assert (response.status_code, response.json()["code"]) == (409, "ambiguous_code")
    assert response.json()["candidates"] == sorted([first, third])
    validity = company.post(f"{PATH}/validate", json={"code": "coffee"}).json()
    assert validity == {"valid": False, "reasons": ["ambiguous_code"], "candidates": sorted([first, third])}
    assert redeem(company, "coffee", promo_id=third)["promo_id"] == third


def test_another_company(api: Api, company: Account, user: Account) -> None:
    """The codes, promos and redemptions of another company are unknown."""
    promo_id = company.create_promo(promo_unique=["one"])
    activate(user, promo_id)
    redemption = redeem(company, "one", hold_s=60)
    other = api.sign_up_company()
    assert refused(other, "one") == refused(other, "one", promo_id=promo_id) == "unknown_code"
    assert other.get(PATH).json() == other.get(PATH, params={"promo_id": promo_id}).json() == []
    for method, path in (("GET", ""), ("POST", "/confirm"), ("POST", "/release"), ("POST", "/void")):
        response = api.call(method, f"{PATH}/{redemption['id']}{path}", token=other.token)
        assert (response.status_code, response.json()["code"]) == (404, "redemption_not_found")


def test_idempotency_key(company: Account, user: Account) -> None:
    """A repeated request gets the redemption of the first."""
    for promo in ({"promo_unique": ["one"]}, {"promo_common": "coffee"}):
        code = activate(user, company.create_promo(**promo))
        request = {"json": {"code": code}, "headers": {"Idempotency-Key": f"key-{code}"}}
        first, second = company.post(PATH, **request), company.post(PATH, **request)
        assert (first.status_code, first.json()) == (second.status_code, second.json())
        assert second.headers["idempotent-replayed"] == "true"


def test_list(runtime: Runtime, company: Account, user: Account) -> None:
    """The list is sorted by time, and filtered by promo, order and state."""
    unique = company.create_promo(promo_unique=[f"code-{number}" for number in range(5)])
    common = company.create_promo(promo_common="coffee")
    for promo_id in [unique] * 5 + [common]:
        activate(user, promo_id)
    confirmed = redeem(company, "code-0", order_ref="A")
    held = redeem(company, "code-1", hold_s=60, order_ref="A")
    expired, superseded = (redeem(company, code, hold_s=60) for code in ("code-2", "coffee"))
    expire(runtime.database, expired)
    expire(runtime.database, superseded)
    voided = redeem(company, "coffee", order_ref="B")
    change(company, voided, "void")
    released = redeem(company, "code-3", hold_s=60)
    change(company, released, "release")
    everything = [released, voided, superseded, expired, held, confirmed]

    def listed(**filters: Any) -> list[str]:
        ids: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            response = company.get(PATH, params={"limit": 2, **filters, **cursor})
            ids += [each["id"] for each in response.json()]
            if "x-next-cursor" not in response.headers:
                return ids
            cursor = {"cursor": response.headers["x-next-cursor"]}

    def ids(*entries: dict[str, Any]) -> list[str]:
        return [each["id"] for each in entries]

    assert listed() == ids(*everything)
    assert listed(promo_id=common) == ids(voided, superseded)
    assert listed(order_ref="A") == ids(held, confirmed)
    assert listed(order_ref="A", state="held") == ids(held)
    assert listed(order_ref="A", promo_id=common) == []
    by_state = {"confirmed": [confirmed], "held": [held], "released": [released], "voided": [voided]}
    for state, entries in by_state.items():
        assert listed(state=state) == ids(*entries)
    assert listed(state="expired") == ids(superseded, expired)
    assert listed(promo_id=unique, state="expired") == ids(expired)
    assert [each["code"] for each in company.get(PATH, params={"promo_id": common}).json()] == ["coffee"] * 2
    assert company.get(PATH, params={"state": "open"}).status_code == 400


def test_states_of_codes(company: Account, user: Account) -> None:
    """The list of codes shows redeemed codes, and filters by them; voided redemptions do not count."""
    promo_id = company.create_promo(promo_unique=["one", "two", "six", "ten"])
    for _ in range(3):
        activate(user, promo_id)
    redeem(company, "one", hold_s=60)
    redeem(company, "two")
    change(company, redeem(company, "six"), "void")

    def listed(**filters: str) -> list[tuple[str, str]]:
        codes = company.get(f"/business/promo/{promo_id}/codes", params=filters).json()
        return [(each["code"], each["state"]) for each in codes]

    issued = [("one", "issued"), ("two", "redeemed"), ("six", "issued")]
    assert listed() == [*issued, ("ten", "available")]
    assert listed(state="issued") == issued
    assert listed(state="redeemed") == [("two", "redeemed")]
    assert listed(state="available") == [("ten", "available")]


def test_statistics(api: Api, company: Account) -> None:
    """The statistics count confirmed redemptions, those of UNIQUE promos by country of the activation."""
    unique = company.create_promo(promo_unique=["one", "two", "six"])
    common = company.create_promo(promo_common="coffee")
    for promo_id in (unique, common):
        for country in ("ru", "fr", "ru"):
            activate(api.sign_up_user(country=country), promo_id)
    for code in ("one", "two", "six", "coffee", "coffee"):
        redemption = redeem(company, code)
    change(company, redemption, "void")
    redeem(company, "coffee", hold_s=60)
    stat = company.get(f"/business/promo/{unique}/stat").json()
    assert stat == {
        "activations_count": 3,
        "redemptions_count": 3,
        "countries": [
            {"country": "fr", "activations_count": 1, "redemptions_count": 1},
            {"country": "ru", "activations_count": 2, "redemptions_count": 2},
        ],
    }
    stat = company.get(f"/business/promo/{common}/stat").json()
    assert (stat["redemptions_count"], [each.keys() for each in stat["countries"]]) == (
        1,
        [{"country", "activations_count"}] * 2,
    )


@pytest.mark.parametrize(
    "body", [{"code": " "}, {"code": "x" * 121}, {"code": "one", "hold_s": 29}, {"code": "one", "hold_s": 86401}]
)
def test_invalid_requests(company: Account, body: dict[str, Any]) -> None:
    """A code without letters, an overlong one, and holds outside of the limits are refused."""
    assert company.post(PATH, json=body).status_code == 400
