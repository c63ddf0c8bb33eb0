"""The list of a company's own promos."""

import random
from typing import Any

import pytest

from tests.accounts import Account, Api
from tests.cases import all_cases

PROMO = "/business/promo"
MAX_INT64_OF_JSON = 2**53 - 1


@pytest.fixture
def company(api: Api) -> Account:
    """A company without promos."""
    return api.sign_up_company()


def _list(company: Account, query: str = "") -> tuple[list[str], int]:
    """Return the ids on a page, and the total."""
    answer = company.get(f"{PROMO}?{query}")
    assert answer.status_code == 200, answer.text
    return [promo["promo_id"] for promo in answer.json()], int(answer.headers["x-total-count"])


def test_no_promos(company: Account) -> None:
    """A company without promos has an empty list."""
    assert _list(company) == ([], 0)


def test_only_own_promos(api: Api, company: Account) -> None:
    """A company sees its own promos and not those of another."""
    own = company.create_promo()
    api.sign_up_company().create_promo()
    assert _list(company) == ([own], 1)


def test_entries_are_those_of_the_promo(company: Account) -> None:
    """An entry of the list is what reading the promo alone returns, of either mode."""
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


def test_pages_of_the_newest_first(company: Account) -> None:
    """The newest is first; limit and offset cut a page out; 10 is the default; the total does not change."""
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


def test_change_of_a_promo_keeps_its_place(company: Account) -> None:
    """Newest means created last, not changed last."""
    ids = [company.create_promo() for _ in range(3)]
    company.patch(f"{PROMO}/{ids[0]}", json={"description": "A new description", "max_count": 5})
    assert _list(company) == (ids[::-1], 3)


def test_page_of_at_most_100(api: Api, company: Account) -> None:
    """A page holds 100 promos at most, whatever the limit asks; the same holds for a feed."""
    category = "list of 101"
    ids = [company.create_promo(target={"categories": [category]}) for _ in range(101)][::-1]
    for limit in (100, 101, MAX_INT64_OF_JSON):
        assert _list(company, f"limit={limit}") == (ids[:100], 101)
    assert _list(company, "limit=1000&offset=100") == (ids[100:], 101)
    feed = api.sign_up_user().get(f"/user/feed?limit=1000&category={category}")
    assert ([card["promo_id"] for card in feed.json()], feed.headers["x-total-count"]) == (ids[:100], "101")


@pytest.mark.parametrize(
    ("query", "wanted"),
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
def test_country_filter(company: Account, query: str, wanted: str) -> None:
    """Countries are repeated, comma-separated or both, in any case; promos without a country always match."""
    targets = {"ru": {"country": "ru"}, "RU": {"country": "RU"}, "fr": {"country": "fR"}, "us": {"country": "us"}}
    ids = {company.create_promo(target=targets.get(name, {})): name for name in [*targets, "none"]}
    found, total = _list(company, query)
    assert sorted(ids[promo_id] for promo_id in found) == sorted(wanted.split())
    assert total == len(wanted.split())


def test_country_filter_with_pages(company: Account) -> None:
    """The total counts all promos that the filter leaves, however few are on the page."""
    ids = [company.create_promo(target={"country": "It"}) for _ in range(3)]
    company.create_promo(target={"country": "es"})
    assert _list(company, "country=it&limit=1&offset=1") == ([ids[1]], 3)
    assert _list(company, "country=it&limit=0") == ([], 3)
    assert _list(company, "country=it&offset=7") == ([], 3)


def test_country_filter_follows_a_change(company: Account) -> None:
    """After a change of the target a promo is found by its new country, and no more by the old one."""
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
    """The latest date is first; a missing beginning is the earliest of all, a missing end the latest."""
    made: dict[Any, str] = {}
    for date in random.Random(5).sample(dates, len(dates)):  # noqa: S311 any order but the sorted one
        made[date] = company.create_promo(**{member: date})
    ids = [made[date] for date in dates]
    assert _list(company, f"sort_by={member}") == (ids, 5)
    assert _list(company, f"sort_by={member}&limit=2&offset=1") == (ids[1:3], 5)


@pytest.mark.parametrize("member", ["active_from", "active_until"])
def test_newest_first_among_equals(company: Account, member: str) -> None:
    """Among promos of the same date, and among those of none, the newest is first."""
    made: dict[str | None, list[str]] = {"2025-01-10": [], "2025-01-09": [], None: []}
    for _ in range(8):
        for date, ids in made.items():
            ids.insert(0, company.create_promo(**{member: date}))
    dated = made["2025-01-10"] + made["2025-01-09"]
    wanted = dated + made[None] if member == "active_from" else made[None] + dated
    assert _list(company, f"sort_by={member}&limit=100") == (wanted, 24)
    assert _list(company, f"sort_by={member}&limit=7&offset=5") == (wanted[5:12], 24)


def test_sorting_and_filter_together(company: Account) -> None:
    """A filter and an order work together."""
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
def test_bad_filter_or_order(company: Account, query: str, pointer: str) -> None:
    """A country that is none, and an order that is not described, is refused."""
    answer = company.get(f"{PROMO}?{query}")
    assert answer.status_code == 400
    assert {(detail["in"], detail["pointer"]) for detail in answer.json()["details"]} == {("query", pointer)}
