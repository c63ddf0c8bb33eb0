"""The list of a company's own promos."""

import random
from typing import Any

import pytest

from tests.accounts import Account, Api
from tests.cases import all_cases

PROMO = "/business/promo"
MAX_INT64_OF_JSON = 2**53 - 1


def _list(company: Account, query: str = "") -> tuple[list[str], int]:
    """Return the ids on a page, and the total."""
    response = company.get(f"{PROMO}?{query}")
    assert response.status_code == 200, response.text
    return [promo["promo_id"] for promo in response.json()], int(response.headers["x-total-count"])


def test_no_promos(company: Account) -> None:
    """A company without promos has an empty list."""
    assert _list(company) == ([], 0)


def test_only_own_promos(api: Api, company: Account) -> None:
    """A company sees only its own promos."""
    own = company.create_promo()
    api.sign_up_company().create_promo()
    assert _list(company) == ([own], 1)


def test_entries_match_the_promo(company: Account) -> None:
    """An entry of the list equals the promo that is read alone, in either mode."""
    ids = [company.create_promo(), company.create_promo(promo_unique=["one", "two"], target={"country": "Fr"})]
    listed = company.get(PROMO).json()
    assert listed == [company.get(f"{PROMO}/{promo_id}").json() for promo_id in reversed(ids)]


@pytest.mark.parametrize("number", [1, 99, 100, 101, 5000])
def test_first_codes_of_a_unique_promo(api: Api, company: Account, number: int) -> None:
    """The list has the first 100 codes of a promo; the promo alone, read or changed, has all. Both count all codes."""
    codes = [f"code-{(7 * position) % 5001:04}" for position in range(number)]
    path = f"{PROMO}/{company.create_promo(promo_unique=codes)}"
    api.sign_up_user().post(f"/user{path.removeprefix('/business')}/activate")
    for _ in range(2):
        [listed] = company.get(PROMO).json()
        assert (listed["promo_unique"], listed["codes_count"]) == (codes[:100], number)
        for alone in (company.get(path).json(), company.patch(path, json={"description": "A new description"}).json()):
            assert (alone["promo_unique"], alone["codes_count"]) == (codes, number)


def test_common_promo_has_no_count_of_codes(company: Account) -> None:
    """Only a UNIQUE promo has `codes_count`."""
    path = f"{PROMO}/{company.create_promo()}"
    for promo in (*company.get(PROMO).json(), company.get(path).json(), company.patch(path, json={}).json()):
        assert "codes_count" not in promo


def test_inactive_promos_too(company: Account) -> None:
    """Promos are listed whether they are active or not."""
    ids = [company.create_promo(max_count=0), company.create_promo(active_until="2020-01-01")]
    assert _list(company) == (ids[::-1], 2)


def test_pages_are_newest_first(company: Account) -> None:
    """The newest promo is first; limit and offset select a page; the default limit is 10; the total stays."""
    ids = [company.create_promo() for _ in range(12)][::-1]
    assert _list(company) == (ids[:10], 12)
    assert _list(company, "limit=3") == (ids[:3], 12)
    assert _list(company, "limit=3&offset=2") == (ids[2:5], 12)
    assert _list(company, "offset=2") == (ids[2:], 12)
    assert _list(company, "limit=100&offset=11") == (ids[11:], 12)
    assert _list(company, "offset=12") == ([], 12)
    assert _list(company, f"offset={MAX_INT64_OF_JSON}") == ([], 12)
    assert _list(company, "limit=0") == ([], 12)
    assert _list(company, "limit=0&offset=5") == ([], 12)


def test_change_keeps_the_order(company: Account) -> None:
    """A change of a promo does not change its position: the order is by creation."""
    ids = [company.create_promo() for _ in range(3)]
    company.patch(f"{PROMO}/{ids[0]}", json={"description": "A new description", "max_count": 5})
    assert _list(company) == (ids[::-1], 3)


def test_page_of_at_most_100(api: Api, company: Account) -> None:
    """A page of the list or of a feed has at most 100 promos, also if the limit is higher."""
    category = "list of 101"
    ids = [company.create_promo(target={"categories": [category]}) for _ in range(101)][::-1]
    for limit in (100, 101, MAX_INT64_OF_JSON):
        assert _list(company, f"limit={limit}") == (ids[:100], 101)
    assert _list(company, "limit=1000&offset=100") == (ids[100:], 101)
    feed = api.sign_up_user().get(f"/user/feed?limit=1000&category={category}")
    assert ([promo["promo_id"] for promo in feed.json()], feed.headers["x-total-count"]) == (ids[:100], "101")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("country=ru", "ru RU none"),
        ("country=Ru", "ru RU none"),
        ("country=FR", "fr none"),
        ("country=jp", "none"),
        ("country=ru&country=fr", "ru RU fr none"),
        ("country=ru,fr", "ru RU fr none"),
        ("country=ru%2Cfr", "ru RU fr none"),
        ("country=jp&country=fr,Us", "fr us none"),
        ("country=us&country=us,US", "us none"),
        ("country=de&limit=1", "none"),
    ],
)
def test_country_filter(company: Account, query: str, expected: str) -> None:
    """Countries are repeated, comma-separated or both, in any case; promos without a country always match."""
    targets = {"ru": {"country": "ru"}, "RU": {"country": "RU"}, "fr": {"country": "fR"}, "us": {"country": "us"}}
    ids = {company.create_promo(target=targets.get(name, {})): name for name in [*targets, "none"]}
    listed, total = _list(company, query)
    assert sorted(ids[promo_id] for promo_id in listed) == sorted(expected.split())
    assert total == len(expected.split())


def test_country_filter_with_pages(company: Account) -> None:
    """The total counts all promos that match the filter, on any page."""
    ids = [company.create_promo(target={"country": "It"}) for _ in range(3)]
    company.create_promo(target={"country": "es"})
    assert _list(company, "country=it&limit=1&offset=1") == ([ids[1]], 3)
    assert _list(company, "country=it&limit=0") == ([], 3)
    assert _list(company, "country=it&offset=7") == ([], 3)


def test_country_filter_follows_a_change(company: Account) -> None:
    """After a change of the target the filter finds a promo by its new country only."""
    promo_id = company.create_promo(target={"country": "it"})
    company.patch(f"{PROMO}/{promo_id}", json={"target": {"country": "Es"}})
    assert [_list(company, f"country={country}")[1] for country in ("it", "es")] == [0, 1]
    company.patch(f"{PROMO}/{promo_id}", json={"target": {}})
    assert _list(company, "country=it") == ([promo_id], 1)


SORTED: list[tuple[str, list[str | None]]] = [
    ("active_from", ["2025-03-01", "2025-02-01", "2024-12-31", "0001-01-01", None]),
    ("active_until", [None, "9999-12-31", "2025-03-01", "2025-02-01", "2024-12-31"]),
]


@pytest.mark.parametrize(("member", "dates"), SORTED)
def test_sorting(company: Account, member: str, dates: list[str | None]) -> None:
    """The latest date is first. A promo without `active_from` sorts last, one without `active_until` first."""
    ids_by_date: dict[Any, str] = {}
    for date in random.Random(5).sample(dates, len(dates)):  # noqa: S311 any order but the sorted one
        ids_by_date[date] = company.create_promo(**{member: date})
    ids = [ids_by_date[date] for date in dates]
    assert _list(company, f"sort_by={member}") == (ids, 5)
    assert _list(company, f"sort_by={member}&limit=2&offset=1") == (ids[1:3], 5)


@pytest.mark.parametrize("member", ["active_from", "active_until"])
def test_newest_first_among_equals(company: Account, member: str) -> None:
    """Promos with the same date, or without a date, are sorted newest first."""
    ids_by_date: dict[str | None, list[str]] = {"2025-01-10": [], "2025-01-09": [], None: []}
    for _ in range(8):
        for date, ids in ids_by_date.items():
            ids.insert(0, company.create_promo(**{member: date}))
    dated = ids_by_date["2025-01-10"] + ids_by_date["2025-01-09"]
    expected = dated + ids_by_date[None] if member == "active_from" else ids_by_date[None] + dated
    assert _list(company, f"sort_by={member}&limit=100") == (expected, 24)
    assert _list(company, f"sort_by={member}&limit=7&offset=5") == (expected[5:12], 24)


def test_sorting_and_filter_together(company: Account) -> None:
    """A filter and a sort order can be combined."""
    ids = [
        company.create_promo(target={"country": country}, active_from=date)
        for country, date in (("it", "2025-01-01"), ("es", "2025-01-02"), ("IT", "2025-01-03"))
    ]
    assert _list(company, "country=it&sort_by=active_from") == ([ids[2], ids[0]], 2)


@all_cases(
    ("query", "pointer"),
    [
        ("country=", "/country/0"),
        ("country=aa", "/country/0"),
        ("country=ru,", "/country/1"),
        ("country=ru,,fr", "/country/1"),
        ("country=ru&country=xx", "/country/1"),
        ("country=russia", "/country/0"),
        ("country=ru,%20fr", "/country/1"),
        ("country=ru%00", "/country/0"),
        ("sort_by=", "/sort_by"),
        ("sort_by=created_at", "/sort_by"),
        ("sort_by=ACTIVE_FROM", "/sort_by"),
        ("sort_by=active_from&sort_by=active_until", "/sort_by"),
    ],
)
def test_invalid_filter_or_order(company: Account, query: str, pointer: str) -> None:
    """An invalid country or sort order is refused."""
    response = company.get(f"{PROMO}?{query}")
    assert response.status_code == 400
    assert {(detail["in"], detail["pointer"]) for detail in response.json()["details"]} == {("query", pointer)}
