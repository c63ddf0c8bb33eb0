"""Statistics over time: exact with concurrent requests, which wait for no other rows than without them."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import text

from persistence.schema.activity_tables import promo_activity, redemption_activity
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.integration.test_redemptions import PATH, activate, redeem
from tests.race.consistency import recounted
from tests.race.interleaving import Stage, together
from tests.race.jobs import activation, statuses

_MEASURES = ("activations", "redemptions", "likes", "comments")


def _totals(company: Account, path: str) -> dict[str, int]:
    """Return the sums of a series, and assert that no country is missing in them."""
    buckets = company.get(path, params={"bucket": "hour", "by": "country"}).json()["buckets"]
    for bucket in buckets:
        for name in ("activations", "likes", "comments"):
            assert bucket[name] == sum(entry[name] for entry in bucket["countries"])
    return {name: sum(bucket[name] for bucket in buckets) for name in _MEASURES}


def _assert_equal(company: Account, runtime: Runtime, *promo_ids: str) -> None:
    """Assert that the series of promos agree with their other statistics, and that of the company with their sum."""
    sums = dict.fromkeys(_MEASURES, 0)
    for promo_id in promo_ids:
        counts = recounted(runtime.database, promo_id)
        stat = company.get(f"/business/promo/{promo_id}/stat").json()
        assert stat["activations_count"] == counts.uses
        totals = _totals(company, f"/business/promo/{promo_id}/stat/series")
        assert totals == {
            "activations": counts.uses,
            "redemptions": stat.get("redemptions_count", 0),
            "likes": counts.likes,
            "comments": counts.comments,
        }
        sums = {name: sums[name] + number for name, number in totals.items()}
    assert _totals(company, "/business/stat/series") == sums


def test_everything_at_once(api: Api, runtime: Runtime) -> None:
    """Activations, likes, comments, redemptions and what undoes them, all at once, are counted exactly."""
    company = api.sign_up_company()
    users = [api.sign_up_user(country=country) for country in ("ru", "fr", "us", "ru")]
    common = company.create_promo(max_count=1000, promo_common="all-at-once")
    unique = company.create_promo(promo_unique=[f"at-once-{number}" for number in range(60)])
    jobs: list[Callable[[], Any]] = []
    for promo_id in (common, unique):
        codes = [activate(user, promo_id) for user in users * 3]
        for user in users:
            path = f"/user/promo/{promo_id}"
            comments = [user.post(f"{path}/comments", json={"text": "A first comment"}).json()["id"] for _ in range(3)]
            jobs += [activation(user, promo_id)] * 6
            jobs += [partial(user.post, f"{path}/like"), partial(user.delete, f"{path}/like")] * 3
            jobs += [partial(user.post, f"{path}/comments", json={"text": "Another comment"})] * 2
            jobs += [partial(user.delete, f"{path}/comments/{each}") for each in comments[:2]]
            jobs += [partial(company.delete, f"/business/promo/{promo_id}/comments/{each}") for each in comments[1:]]
        redeemed = [redeem(company, code) for code in codes[:6]]
        jobs += [partial(company.post, f"{PATH}/{each['id']}/void") for each in redeemed]
        jobs += [partial(company.post, PATH, json={"code": code}) for code in codes[4:]]
    for start in range(5):
        assert set(statuses(together(jobs[start::5]))) <= {200, 201, 403, 404, 409}
    _assert_equal(company, runtime, common, unique)


def test_coalesced_activations_of_two_countries(api: Api, runtime: Runtime) -> None:
    """One statement with many activations counts each for its country."""
    company = api.sign_up_company()
    users = [api.sign_up_user(country=country) for country in ("ru", "fr")]
    promo_id = company.create_promo(max_count=1000)
    assert set(statuses(together([activation(user, promo_id) for user in users * 20]))) == {200}
    buckets = company.get(f"/business/promo/{promo_id}/stat/series", params={"by": "country"}).json()["buckets"]
    countries = [entry for bucket in buckets for entry in bucket["countries"]]
    assert sum(entry["activations"] for entry in countries if entry["country"] == "fr") == 20
    _assert_equal(company, runtime, promo_id)


def test_redemptions_do_not_wait_for_activity(uncoalesced_api: Api, runtime: Runtime) -> None:
    """Redemptions wait neither for a counted redemption that is not committed, nor for an activation."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(promo_unique=["free-1", "free-2", "free-3"])
    codes = [activate(user, promo_id) for _ in range(3)]
    redeem(company, codes[0])
    with runtime.database.transaction() as connection:
        for table in (redemption_activity, promo_activity):
            lock = f"SELECT FROM {table.name} WHERE promo_id = :promo FOR UPDATE"
            assert connection.execute(text(lock), {"promo": UUID(promo_id)}).rowcount >= 1
        redemption = redeem(company, codes[1])
        assert company.post(f"{PATH}/{redemption['id']}/void").status_code == 200
        redeem(company, codes[2])
    _assert_equal(company, runtime, promo_id)


def test_rolled_back_activation(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """An activation that is rolled back is not counted, and one that waits for it is."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(max_count=10)
    activate(user, promo_id)
    with stage.lock_row(promo_activity, promo_id=UUID(promo_id)) as (connection, queue):
        connection.execute(
            text("UPDATE promo_activity SET activations = 5 WHERE promo_id = :promo"), {"promo": UUID(promo_id)}
        )
        queue.add(activation(user, promo_id))
        connection.rollback()
    assert statuses(queue.results()) == [200]
    _assert_equal(company, runtime, promo_id)
