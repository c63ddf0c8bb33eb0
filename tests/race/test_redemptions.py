"""Redemptions: at most one is live for each issued code, in any order of requests."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection

from persistence.consistency import (
    count_mismatched_country_redemptions,
    count_mismatched_live_redemptions,
    count_mismatched_redemptions,
)
from persistence.schema.redemption_tables import redemption_counters
from persistence.schema.tables import promo_codes
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.integration.test_redemptions import PATH, activate, expire, redeem
from tests.race.interleaving import Queue, Stage, together
from tests.race.jobs import statuses

KINDS: dict[str, dict[str, Any]] = {"UNIQUE": {"promo_unique": ["coffee"]}, "COMMON": {"promo_common": "coffee"}}


@dataclass
class World:
    """A promo whose code was issued once."""

    runtime: Runtime
    stage: Stage
    company: Account
    user: Account
    promo_id: str
    kind: str

    def redemption(self, **body: Any) -> Callable[[], Any]:
        """Return a request that redeems or holds the code."""
        return partial(self.company.post, PATH, json={"code": "coffee", **body})

    def change(self, redemption: dict[str, Any], action: str) -> Callable[[], Any]:
        """Return a request that confirms, releases or voids."""
        return partial(self.company.post, f"{PATH}/{redemption['id']}/{action}")

    def locked(self) -> AbstractContextManager[tuple[Connection, Queue]]:
        """Hold the lock that decides about the code."""
        if self.kind == "UNIQUE":
            return self.stage.lock_row(promo_codes, promo_id=UUID(self.promo_id), position=1)
        return self.stage.lock_row(redemption_counters, promo_id=UUID(self.promo_id))


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> World:
    """A promo of each mode."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(**KINDS[request.param])
    activate(user, promo_id)
    return World(runtime, stage, company, user, promo_id, request.param)


@pytest.fixture(autouse=True)
def _consistent(runtime: Runtime) -> Any:
    yield
    assert mismatches(runtime) == [0, 0, 0]


def mismatches(runtime: Runtime) -> list[int]:
    """Return what `check` finds about redemptions."""
    checks = (count_mismatched_redemptions, count_mismatched_country_redemptions, count_mismatched_live_redemptions)
    with runtime.database.autocommit() as connection:
        return [check(connection) for check in checks]


def outcomes(responses: list[Any]) -> list[str]:
    """Return the new state, or the error code, of each response."""
    return [body["state"] if "state" in body else body["code"] for body in (each.json() for each in responses)]


def test_two_redemptions(world: World) -> None:
    """Of two requests for one code the first redeems it."""
    first = redeem(world.company, "coffee", hold_s=60)
    assert world.change(first, "release")().status_code == 200
    with world.locked() as (_, queue):
        queue.add(world.redemption(), world.redemption(hold_s=60))
    assert outcomes(queue.results()) == ["confirmed", "already_redeemed"]


@pytest.mark.parametrize("confirms_first", [True, False])
def test_confirm_against_expiry(world: World, confirms_first: bool) -> None:
    """An expired hold is confirmed, or its code is redeemed again, whichever is first."""
    held = redeem(world.company, "coffee", hold_s=60)
    expire(world.runtime.database, held)
    jobs = [world.change(held, "confirm"), world.redemption(order_ref="B")]
    with world.locked() as (_, queue):
        queue.add(*(jobs if confirms_first else jobs[::-1]))
    expected = ["confirmed", "already_redeemed"] if confirms_first else ["confirmed", "redemption_state"]
    assert outcomes(queue.results()) == expected


@pytest.mark.parametrize("action", ["release", "void"])
@pytest.mark.parametrize("ends_first", [True, False])
def test_end_against_redeem(world: World, action: str, ends_first: bool) -> None:
    """The end of a redemption that comes first frees the code; later, another redemption is refused."""
    first = redeem(world.company, "coffee", **({"hold_s": 60} if action == "release" else {}))
    again = partial(world.company.post, PATH, json={"code": "coffee"})
    if ends_first:
        with world.locked() as (_, queue):
            queue.add(world.change(first, action))
        ended = queue.results()
        assert outcomes([*ended, again()]) == [
            f"{action.removesuffix('e') if action == 'release' else action}ed",
            "confirmed",
        ]
    else:
        with world.locked() as (_, queue):
            queue.add(world.change(first, action))
            refused = again()
        reason = "held" if action == "release" else "already_redeemed"
        assert outcomes([refused, again()]) == [reason, "confirmed"]


@pytest.mark.parametrize("extends_first", [True, False])
def test_extension_against_confirm(world: World, extends_first: bool) -> None:
    """An extension and a confirm keep the redemption in any order; a late extension is refused."""
    held = redeem(world.company, "coffee", hold_s=60, order_ref="A")
    jobs = [world.redemption(hold_s=600, order_ref="A"), world.change(held, "confirm")]
    with world.locked() as (_, queue):
        queue.add(*(jobs if extends_first else jobs[::-1]))
    expected = ["held", "confirmed"] if extends_first else ["confirmed", "already_redeemed"]
    assert outcomes(queue.results()) == expected
    assert world.company.get(f"{PATH}/{held['id']}").json()["state"] == "confirmed"


@pytest.mark.parametrize("releases_first", [True, False])
def test_extension_against_release(world: World, releases_first: bool) -> None:
    """After a release, the order of the hold gets a new redemption."""
    held = redeem(world.company, "coffee", hold_s=60, order_ref="A")
    jobs = [world.change(held, "release"), world.redemption(hold_s=600, order_ref="A")]
    with world.locked() as (_, queue):
        queue.add(*(jobs if releases_first else jobs[::-1]))
    released, extended = queue.results() if releases_first else queue.results()[::-1]
    assert outcomes([released, extended]) == ["released", "held"]
    assert (extended.json()["id"] == held["id"]) != releases_first


def test_hold_that_expires_while_a_release_waits(world: World) -> None:
    """The time counts after the lock: a release that has waited until its hold expired is refused."""
    held = redeem(world.company, "coffee", hold_s=60)
    with world.locked() as (_, queue):
        queue.add(world.change(held, "release"))
        expire(world.runtime.database, held)
    assert outcomes(queue.results()) == ["redemption_state"]
    assert outcomes([world.redemption()()]) == ["confirmed"]


def test_idempotency_key(world: World) -> None:
    """Concurrent requests with one key redeem the code once and get the same response."""
    request = partial(world.redemption(), headers={"Idempotency-Key": "same"})
    responses = together([request] * 6)
    assert Counter(statuses(responses)) == {201: 6}
    assert len({response.text for response in responses}) == 1


@pytest.mark.parametrize("coalesced", [True, False])
def test_concurrent_redemptions(api: Api, uncoalesced_api: Api, coalesced: bool) -> None:
    """Of 300 concurrent redemptions of 60 issued codes, or of a code issued 60 times, exactly 60 succeed."""
    accounts = api if coalesced else uncoalesced_api
    company, user = accounts.sign_up_company(), accounts.sign_up_user()
    unique = company.create_promo(promo_unique=[f"code-{number}" for number in range(60)])
    common = company.create_promo(promo_common="coffee")
    for _ in range(60):
        activate(user, unique)
        activate(user, common)
    codes = [f"CODE-{number}" for number in range(60)] * 5 + ["coffee"] * 300
    Random(1).shuffle(codes)  # noqa: S311 not a secret
    with ThreadPoolExecutor(24) as threads:
        responses = list(threads.map(lambda code: company.post(PATH, json={"code": code}), codes))
    results = Counter(zip((code == "coffee" for code in codes), outcomes(responses), strict=True))
    assert results == {
        (is_common, outcome): number
        for is_common in (True, False)
        for outcome, number in (("confirmed", 60), ("already_redeemed", 240))
    }
    for promo_id in (unique, common):
        assert company.get(f"/business/promo/{promo_id}/stat").json()["redemptions_count"] == 60


def test_concurrent_changes(world: World) -> None:
    """Concurrent confirms, releases, voids and redemptions leave at most one live redemption."""
    held = redeem(world.company, "coffee", hold_s=60, order_ref="A")
    jobs = [
        *(world.change(held, action) for action in ("confirm", "release", "void") for _ in range(3)),
        *[world.redemption()] * 3,
        *[world.redemption(hold_s=60, order_ref="A")] * 3,
    ]
    assert {*statuses(together(jobs))} <= {200, 201, 409}
    listed = world.company.get(PATH, params={"promo_id": world.promo_id, "limit": 100}).json()
    assert sum(each["state"] in ("held", "confirmed") for each in listed) <= 1


@dataclass
class Model:
    """What the API should do, for a UNIQUE promo with codes that are issued in order, or a COMMON promo.

    Attributes:
        issued: the number of activations.
        states: of each redemption: the code, the order, and the state.
    """

    is_common: bool
    issued: int = 0
    redemptions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def live(self, code: int) -> list[dict[str, Any]]:
        """Return the live redemptions of a code."""
        return [
            each
            for each in self.redemptions.values()
            if each["code"] == code and each["state"] in ("held", "confirmed")
        ]

    def redeem(self, code: int, order_ref: str, hold_s: int | None) -> str:
        """Return the id of the redemption that is changed, the reason against any, or `new`."""
        live = self.live(code)
        for each in live:
            if each["state"] == "held" and each["order_ref"] == order_ref:
                each["state"] = "held" if hold_s else "confirmed"
                return str(each["id"])
        allowed = self.issued if self.is_common else int(code < self.issued)
        if len(live) < allowed:
            return "new"
        if allowed == 0:
            return "not_issued"
        confirmed = sum(each["state"] == "confirmed" for each in live)
        return "already_redeemed" if confirmed >= allowed else "held"

    def add(self, code: int, order_ref: str, redemption: dict[str, Any]) -> None:
        """Record a new redemption. An expired hold of the same code of a UNIQUE promo cannot be confirmed any more."""
        if not self.is_common:
            for each in self.redemptions.values():
                if each["code"] == code and each["state"] == "expired":
                    each["state"] = "superseded"
        self.redemptions[redemption["id"]] = {
            "id": redemption["id"], "code": code, "order_ref": order_ref, "state": redemption["state"],
        }  # fmt: skip

    def change(self, redemption_id: str, action: str) -> str:
        """Return the new state, or the error code."""
        redemption = self.redemptions[redemption_id]
        state, code = redemption["state"], redemption["code"]
        has_room = len(self.live(code)) < (self.issued if self.is_common else 1)
        allowed = {
            "confirm": state in ("confirmed", "held") or (state == "expired" and has_room),
            "release": state in ("released", "held"),
            "void": state in ("voided", "confirmed"),
        }
        if not allowed[action]:
            return "redemption_state"
        redemption["state"] = {"confirm": "confirmed", "release": "released", "void": "voided"}[action]
        return str(redemption["state"])


@pytest.mark.parametrize("seed", range(6))
def test_random_steps(api: Api, runtime: Runtime, seed: int) -> None:
    """Random activations, redemptions, changes and expiries equal a model in Python, for both modes."""
    random, is_common = Random(seed), seed % 2 == 0  # noqa: S311 not a secret
    company, user = api.sign_up_company(), api.sign_up_user()
    codes = ["coffee"] if is_common else ["coffee", "juice", "bread"]
    promo_id = company.create_promo(**({"promo_common": "coffee"} if is_common else {"promo_unique": codes}))
    model = Model(is_common)
    for _ in range(120):
        step = random.choice(["activate", "redeem", "redeem", "change", "change", "expire"])
        known = list(model.redemptions)
        if step == "activate" and model.issued < 3:
            activate(user, promo_id)
            model.issued += 1
        elif step == "redeem":
            code, order_ref = random.randrange(len(codes)), random.choice("AB")
            hold_s = random.choice([None, 60])
            expected = model.redeem(code, order_ref, hold_s)
            body = {"code": codes[code], "order_ref": order_ref} | ({"hold_s": hold_s} if hold_s else {})
            response = company.post(PATH, json=body)
            if expected == "new":
                assert response.status_code == 201, response.text
                assert response.json()["id"] not in model.redemptions
                model.add(code, order_ref, response.json())
            else:
                body = response.json()
                assert body["id" if expected in known else "code"] == expected
        elif step == "change" and known:
            redemption_id, action = random.choice(known), random.choice(["confirm", "release", "void"])
            expected = model.change(redemption_id, action)
            assert outcomes([company.post(f"{PATH}/{redemption_id}/{action}")]) == [expected]
        elif step == "expire" and known:
            redemption = model.redemptions[random.choice(known)]
            if redemption["state"] == "held":
                expire(runtime.database, redemption)
                redemption["state"] = "expired"
    listed = company.get(PATH, params={"promo_id": promo_id, "limit": 100}).json()
    shown = {each["id"]: each["state"].replace("superseded", "expired") for each in model.redemptions.values()}
    assert {each["id"]: each["state"] for each in listed} == shown
