"""Statistics over time."""

import csv
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.conftest import Clock

_MEASURES = ("activations", "redemptions", "likes", "comments")
# Each is one table, as Citus needs it.
_ACTIVATION = (
    """
    INSERT INTO activations (promo_id, user_id, id, country_key, activated_at)
    VALUES (:promo, :user, gen_random_uuid(), :country, :moment)
    """,
    "UPDATE promo_counters SET used_count = used_count + 1 WHERE promo_id = :promo",
    """
    INSERT INTO country_uses VALUES (:promo, :country, 1)
    ON CONFLICT (promo_id, country_key) DO UPDATE SET activations_count = country_uses.activations_count + 1
    """,
    """
    INSERT INTO promo_activity (promo_id, quarter, country_key, activations)
    VALUES (:promo, quarter_of(:moment), :country, 1)
    ON CONFLICT (promo_id, quarter, country_key) DO UPDATE SET activations = promo_activity.activations + 1
    """,
    """
    INSERT INTO user_uses VALUES (:user, 1)
    ON CONFLICT (user_id) DO UPDATE SET activations_count = user_uses.activations_count + 1
    """,
)
_LIKE = (
    "UPDATE promo_counters SET like_count = like_count + 1 WHERE promo_id = :promo",
    "INSERT INTO likes (promo_id, user_id, quarter, country_key) VALUES (:promo, :user, quarter_of(:moment), :country)",
)
_COMMENT = (
    "UPDATE promo_counters SET comment_count = comment_count + 1 WHERE promo_id = :promo",
    """
    INSERT INTO comments (promo_id, id, author_id, text, created_at, country_key)
    VALUES (:promo, gen_random_uuid(), :user, 'a comment', :moment, :country)
    """,
)
_REDEMPTION = (
    """
    INSERT INTO redemption_counters (promo_id, confirmed_count) VALUES (:promo, 1)
    ON CONFLICT (promo_id) DO UPDATE SET confirmed_count = redemption_counters.confirmed_count + 1
    """,
    """
    INSERT INTO redemptions (promo_id, id, company_id, state, created_at, confirmed_at)
    VALUES (:promo, gen_random_uuid(), :company, 'confirmed', :moment, :moment)
    """,
)
_INSERT = dict(zip(_MEASURES, (_ACTIVATION, _REDEMPTION, _LIKE, _COMMENT), strict=True))


class _History:
    """A promo whose activity the test writes with given times."""

    def __init__(self, api: Api, runtime: Runtime) -> None:
        self.company = api.sign_up_company()
        self.promo_id = self.company.create_promo(max_count=1000)
        self._runtime = runtime
        self._api = api

    def add(self, measure: str, moment: str, country: str = "ru") -> None:
        """Insert a row as a request at that time would have done."""
        with self._runtime.database.transaction() as connection:
            values = {
                "promo": UUID(self.promo_id),
                "user": _id_of(self._runtime, self._api.sign_up_user(country=country), "user"),
                "company": _id_of(self._runtime, self.company, "company"),
                "country": country,
                "moment": datetime.fromisoformat(moment).replace(tzinfo=UTC),
            }
            for statement in _INSERT[measure]:
                connection.execute(text(statement), values)

    def read(self, **query: Any) -> Any:
        """Return the series of the promo. The company has no other promo, so its series must be equal."""
        series, of_company = (
            self.company.get(path, params=query)
            for path in (f"/business/promo/{self.promo_id}/stat/series", "/business/stat/series")
        )
        assert series.status_code == 200, series.text
        assert of_company.json() == series.json()
        return series.json()


def _id_of(runtime: Runtime, account: Account, kind: Any) -> UUID:
    claims = runtime.tokens.read(account.token, kind)
    assert claims is not None
    return claims.account_id


def _numbers(series: Any, measure: str = "activations") -> dict[str, int]:
    """Return the buckets that are not zero."""
    return {bucket["start"]: bucket[measure] for bucket in series["buckets"] if bucket[measure]}


def _total(series: Any) -> dict[str, int]:
    return {name: sum(bucket[name] for bucket in series["buckets"]) for name in _MEASURES}


@pytest.fixture
def history(api: Api, runtime: Runtime) -> _History:
    """A promo with a known history, written by the test."""
    return _History(api, runtime)


def test_daylight_saving_time(history: _History) -> None:
    """In Berlin, hours and days are right when daylight saving time begins and ends."""
    # 01:45, 03:00 and 03:15 in Berlin; 23:45 of that day and 00:00 of the next.
    for time in ("00:45", "01:00", "01:15", "21:45", "22:00"):
        history.add("activations", f"2026-03-29T{time}")
    # 02:30 twice.
    for time in ("00:30", "01:30", "22:59"):
        history.add("activations", f"2026-10-25T{time}")
    query = {"bucket": "hour", "time_zone": "Europe/Berlin"}
    spring = history.read(**query, **{"from": "2026-03-29", "to": "2026-03-30"})
    assert len(spring["buckets"]) == 23
    assert _numbers(spring) == {
        "2026-03-29T01:00:00+01:00": 1, "2026-03-29T03:00:00+02:00": 2, "2026-03-29T23:00:00+02:00": 1,
    }  # fmt: skip
    autumn = history.read(**query, **{"from": "2026-10-25", "to": "2026-10-26"})
    assert len(autumn["buckets"]) == 25
    assert _numbers(autumn) == {
        "2026-10-25T02:00:00+02:00": 1, "2026-10-25T02:00:00+01:00": 1, "2026-10-25T23:00:00+01:00": 1,
    }  # fmt: skip
    days = history.read(time_zone="Europe/Berlin", **{"from": "2026-03-29", "to": "2026-03-31"})
    assert _numbers(days) == {"2026-03-29T00:00:00+01:00": 4, "2026-03-30T00:00:00+02:00": 1}


def test_half_an_hour_and_three_quarters(history: _History) -> None:
    """In zones with half an hour and with three quarters, each row is in the bucket of its local time."""
    for time in ("18:14:59", "18:15:00", "18:29:59", "18:30:00", "18:45:00"):
        history.add("activations", f"2026-01-31T{time}")
    period = {"from": "2026-01-31", "to": "2026-02-02"}
    assert _numbers(history.read(time_zone="Asia/Kolkata", **period)) == {
        "2026-01-31T00:00:00+05:30": 3, "2026-02-01T00:00:00+05:30": 2,
    }  # fmt: skip
    assert _numbers(history.read(time_zone="Asia/Kathmandu", **period)) == {
        "2026-01-31T00:00:00+05:45": 1, "2026-02-01T00:00:00+05:45": 4,
    }  # fmt: skip
    assert _numbers(history.read(time_zone="Asia/Kolkata", bucket="month", **period)) == {
        "2026-01-31T00:00:00+05:30": 3, "2026-02-01T00:00:00+05:30": 2,
    }  # fmt: skip


def test_measures_and_defaults(history: _History, clock: Clock) -> None:
    """By default the series has the last 30 days in UTC+3; each measure is in the bucket of its time."""
    clock.stopped_at = datetime(2026, 5, 31, 22, tzinfo=UTC)
    for number, measure in enumerate(_MEASURES):
        for _ in range(4 - number):
            history.add(measure, f"2026-05-{10 + number}T20:59")
            history.add(measure, f"2026-05-{10 + number}T21:00")
    series = history.read()
    assert {**series, "buckets": []} == {
        "bucket": "day", "time_zone": "Etc/GMT-3", "from": "2026-05-03", "to": "2026-06-02", "buckets": [],
    }  # fmt: skip
    assert len(series["buckets"]) == 30
    for number, measure in enumerate(_MEASURES):
        assert _numbers(series, measure) == {
            f"2026-05-{day}T00:00:00+03:00": 4 - number for day in (10 + number, 11 + number)
        }
    assert history.read(**{"from": "2026-05-10", "to": "2026-05-11"})["buckets"] == [
        {"start": "2026-05-10T00:00:00+03:00", "activations": 4, "redemptions": 0, "likes": 0, "comments": 0}
    ]


def test_countries_and_csv(history: _History) -> None:
    """By country, a bucket has the numbers of each country, and a CSV file the same numbers."""
    for country in ("fr", "fr", "ru"):
        history.add("activations", "2026-01-10T12:00", country)
    history.add("comments", "2026-01-11T12:00", "us")
    history.add("redemptions", "2026-01-11T12:00")
    query = {"from": "2026-01-10", "to": "2026-01-13", "by": "country"}
    series = history.read(**query)
    none = dict.fromkeys(_MEASURES, 0)
    assert [bucket["countries"] for bucket in series["buckets"]] == [
        [{**none, "country": "fr", "activations": 2}, {**none, "country": "ru", "activations": 1}],
        [{**none, "country": "us", "comments": 1}],
        [],
    ]
    assert _total(series) == {"activations": 3, "redemptions": 1, "likes": 0, "comments": 1}
    for path in (f"/business/promo/{history.promo_id}/stat/series", "/business/stat/series"):
        file = history.company.get(path, params=query, headers={"Accept": "text/csv"})
        assert list(csv.reader(StringIO(file.text))) == [
            ["start", "country", *_MEASURES],
            ["2026-01-10T00:00:00+03:00", "fr", "2", "0", "0", "0"],
            ["2026-01-10T00:00:00+03:00", "ru", "1", "0", "0", "0"],
            ["2026-01-11T00:00:00+03:00", "", "0", "1", "0", "0"],
            ["2026-01-11T00:00:00+03:00", "us", "0", "0", "0", "1"],
            ["2026-01-12T00:00:00+03:00", "", "0", "0", "0", "0"],
        ]
        del query["by"]
        plain = history.company.get(path, params=query, headers={"Accept": "text/csv"})
        assert list(csv.reader(StringIO(plain.text))) == [
            ["start", *_MEASURES],
            *([bucket["start"], *(str(bucket[name]) for name in _MEASURES)] for bucket in series["buckets"]),
        ]
        query["by"] = "country"


def test_undone_actions(history: _History, api: Api, runtime: Runtime) -> None:
    """A removed like or comment and a voided redemption leave the bucket in which they happened."""
    company, user, promo_id = history.company, api.sign_up_user(country="fr"), history.promo_id
    code = user.post(f"/user/promo/{promo_id}/activate").json()["promo"]
    assert user.post(f"/user/promo/{promo_id}/like").status_code == 200
    comment = user.post(f"/user/promo/{promo_id}/comments", json={"text": "a good comment"}).json()
    moderated = user.post(f"/user/promo/{promo_id}/comments", json={"text": "another comment"}).json()
    redemption = company.post("/business/redemptions", json={"code": code}).json()
    assert _total(history.read()) == {"activations": 1, "redemptions": 1, "likes": 1, "comments": 2}
    earlier = datetime.now(UTC) - timedelta(days=1)
    _move_to(runtime, promo_id, earlier)
    before = history.read(bucket="hour", by="country")
    assert user.delete(f"/user/promo/{promo_id}/like").status_code == 200
    assert user.delete(f"/user/promo/{promo_id}/comments/{comment['id']}").status_code == 200
    assert company.delete(f"/business/promo/{promo_id}/comments/{moderated['id']}").status_code == 200
    assert company.post(f"/business/redemptions/{redemption['id']}/void").status_code == 200
    after = history.read(bucket="hour", by="country")
    changed = [(old, new) for old, new in zip(before["buckets"], after["buckets"], strict=True) if old != new]
    [(old, new)] = changed
    assert _total({"buckets": [old]}) == {"activations": 1, "redemptions": 1, "likes": 1, "comments": 2}
    assert new == {
        "start": old["start"], "activations": 1, "redemptions": 0, "likes": 0, "comments": 0,
        "countries": [{"country": "fr", "activations": 1, "redemptions": 0, "likes": 0, "comments": 0}],
    }  # fmt: skip


def _move_to(runtime: Runtime, promo_id: str, moment: datetime) -> None:
    """Move the activity of a promo and its rows to an earlier time."""
    columns = {
        "promo_activity": "quarter", "redemption_activity": "quarter", "likes": "quarter",
        "comments": "created_at", "activations": "activated_at", "redemptions": "confirmed_at",
    }  # fmt: skip
    with runtime.database.transaction() as connection:
        for table, column in columns.items():
            value = "quarter_of(:moment)" if column == "quarter" else ":moment"
            statement = f"UPDATE {table} SET {column} = {value} WHERE promo_id = :promo"  # noqa: S608 constants
            connection.execute(text(statement), {"moment": moment, "promo": UUID(promo_id)})


def test_repeated_likes_count_once(history: _History, api: Api) -> None:
    """A repeated like counts once, and removing it twice subtracts once."""
    user = api.sign_up_user()
    for method, likes in (("POST", 1), ("POST", 1), ("DELETE", 0), ("DELETE", 0), ("POST", 1)):
        assert user.api.call(method, f"/user/promo/{history.promo_id}/like", token=user.token).status_code == 200
        assert _total(history.read())["likes"] == likes


def test_holds_and_refused_redemptions(history: _History, api: Api) -> None:
    """A redemption counts when it is confirmed; a hold, a release and a refusal count nothing."""
    company, user = history.company, api.sign_up_user()
    promo_id = company.create_promo(mode="UNIQUE", promo_common=None, promo_unique=["one", "two"], max_count=1)
    codes = [user.post(f"/user/promo/{promo_id}/activate").json()["promo"] for _ in range(2)]

    def redemptions() -> int:
        response = company.get(f"/business/promo/{promo_id}/stat/series", params={"by": "country"})
        buckets = response.json()["buckets"]
        total = sum(bucket["redemptions"] for bucket in buckets)
        assert total == sum(entry["redemptions"] for bucket in buckets for entry in bucket["countries"])
        return total

    held = [company.post("/business/redemptions", json={"code": code, "hold_s": 600}).json() for code in codes]
    assert redemptions() == 0
    assert company.post(f"/business/redemptions/{held[0]['id']}/release").status_code == 200
    assert company.post(f"/business/redemptions/{held[1]['id']}/confirm").status_code == 200
    assert company.post("/business/redemptions", json={"code": codes[1]}).status_code == 409
    assert redemptions() == 1
    assert company.post("/business/redemptions", json={"code": codes[0]}).status_code == 201
    assert redemptions() == 2


def test_refused_queries(history: _History) -> None:
    """A wrong zone, period or number of buckets is a 400 with a code and the place."""
    cases = [
        ({"time_zone": "Mars/Base"}, "unknown_time_zone", "/time_zone"),
        ({"time_zone": "+03:00"}, "invalid_request", "/time_zone"),
        ({"bucket": "hour", "from": "2026-01-01", "to": "2026-02-12"}, "too_many_buckets", "/to"),
        ({"bucket": "month", "from": "2000-01-01", "to": "2999-12-31"}, "too_many_buckets", "/to"),
        ({"from": "2026-02-01", "to": "2026-02-01"}, "invalid_request", "/to"),
        ({"from": "1999-12-31"}, "invalid_request", "/from"),
        ({"to": "2026-02-30"}, "invalid_request", "/to"),
        ({"by": "city"}, "invalid_request", "/by"),
        ({"bucket": "year"}, "invalid_request", "/bucket"),
    ]
    for path in (f"/business/promo/{history.promo_id}/stat/series", "/business/stat/series"):
        for query, code, pointer in cases:
            response = history.company.get(path, params=query)
            assert (response.status_code, response.json()["code"]) == (400, code), query
            assert [each["pointer"] for each in response.json()["details"]] == [pointer]
    assert len(history.read(bucket="hour", **{"from": "2026-01-01", "to": "2026-02-11"})["buckets"]) == 984


def test_other_promos(history: _History, api: Api) -> None:
    """The series of a company has all its promos, archived ones too, and none of another company."""
    other = history.company.create_promo()
    user = api.sign_up_user()
    for promo_id in (history.promo_id, other, api.sign_up_company().create_promo()):
        assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
    assert history.company.patch(f"/business/promo/{other}", json={"archived": True}).status_code == 200
    assert _total(history.company.get("/business/stat/series").json())["activations"] == 2
    stranger = api.sign_up_company()
    assert stranger.get(f"/business/promo/{other}/stat/series").status_code == 403
    assert stranger.get(f"/business/promo/{uuid4()}/stat/series").status_code == 404


def test_unchanged_series(history: _History, api: Api) -> None:
    """An unchanged series is a 304 for its entity tag, and an activation changes it."""
    path = f"/business/promo/{history.promo_id}/stat/series"
    tag = history.company.get(path).headers["etag"]
    assert history.company.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert api.sign_up_user().post(f"/user/promo/{history.promo_id}/activate").status_code == 200
    assert history.company.get(path, headers={"If-None-Match": tag}).status_code == 200
