"""Creating a promo, and reading it as its company."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import Account, Api, promo_body
from tests.cases import all_cases

PROMO = "/business/promo"


def _refused(company: Account, body: dict[str, Any]) -> set[str]:
    """Send an invalid promo, assert that it is not stored, and return the pointers of the errors."""
    response = company.post(PROMO, json=body)
    assert response.status_code == 400, response.text
    assert company.get(PROMO).headers["x-total-count"] == "0"
    return {detail["pointer"] for detail in response.json()["details"]}


def _shown(company: Account, **changes: Any) -> Any:
    return company.get(f"{PROMO}/{company.create_promo(**changes)}").json()


def test_common_promo(api: Api) -> None:
    """A COMMON promo is returned with all of its members and with counts of zero."""
    company = api.sign_up_company()
    body = promo_body(
        image_url="https://example.com/cup.png",
        target={"age_from": 18, "age_until": 65, "country": "rU", "categories": ["Food", "кофе"]},
        active_from="2020-02-29",
        active_until="2999-12-31",
        max_per_user=3,
    )
    promo_id = company.post(PROMO, json=body).json()["id"]
    shown = {"promo_id": promo_id, "company_id": company.id, "company_name": "Northern Coffee"}
    counts = {"like_count": 0, "used_count": 0, "active": True, "state": "active"}
    assert company.get(f"{PROMO}/{promo_id}").json() == body | shown | counts


def test_unique_promo(api: Api) -> None:
    """A UNIQUE promo is returned with its list of values in order. Optional members without a value are missing."""
    company = api.sign_up_company()
    body = promo_body(promo_unique=["zzz", "aaa", "mmm", "aaa"])
    promo_id = company.post(PROMO, json=body).json()["id"]
    shown = {"promo_id": promo_id, "company_id": company.id, "company_name": "Northern Coffee"}
    counts = {"codes_count": 4, "like_count": 0, "used_count": 0, "active": True, "state": "active"}
    assert company.get(f"{PROMO}/{promo_id}").json() == body | shown | counts


def test_issued_values_stay_in_the_list(api: Api) -> None:
    """The list of a UNIQUE promo stays complete and in order when values are issued."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(promo_unique=["zzz", "aaa", "mmm"])
    for _ in range(3):
        shown = company.get(f"{PROMO}/{promo_id}").json()
        assert (shown["promo_unique"], shown["active"]) == (["zzz", "aaa", "mmm"], True)
        user.post(f"/user/promo/{promo_id}/activate")
    shown = company.get(f"{PROMO}/{promo_id}").json()
    assert (shown["promo_unique"], shown["used_count"], shown["active"]) == (["zzz", "aaa", "mmm"], 3, False)


@pytest.mark.parametrize(
    ("member", "least", "most"), [("description", 10, 300), ("promo_common", 5, 30), ("image_url", 8, 350)]
)
def test_text_lengths(api: Api, member: str, least: int, most: int) -> None:
    """A text of the minimum and of the maximum length is accepted. One character less or more is a 400."""
    company, other = api.sign_up_company(), api.sign_up_company()
    texts = [
        f"http://{'a' * (length - 7)}"
        if length < 50 and member == "image_url"
        else f"http://example.com/{'a' * (length - 19)}"
        if member == "image_url"
        else "ж" * length
        for length in (least, most, least - 1, most + 1)
    ]
    for text in texts[:2]:
        assert _shown(company, **{member: text})[member] == text
    for text in texts[2:]:
        assert _refused(other, promo_body(**{member: text})) == {f"/{member}"}


@pytest.mark.parametrize("max_count", [0, 1, 100_000_000])
def test_max_count_of_common(api: Api, max_count: int) -> None:
    """The max_count of a COMMON promo is 0 to 100000000. With 0 the promo is inactive."""
    shown = _shown(api.sign_up_company(), max_count=max_count)
    assert (shown["max_count"], shown["active"]) == (max_count, max_count > 0)


@pytest.mark.parametrize("max_count", [-1, 100_000_001, 10**20, 1.5, 1.0, "1", True, [1]])
def test_invalid_max_count_of_common(api: Api, max_count: object) -> None:
    """Any other max_count is a 400."""
    assert _refused(api.sign_up_company(), promo_body(max_count=max_count)) == {"/max_count"}


@pytest.mark.parametrize("max_count", [0, 2, -1, "1"])
def test_max_count_of_unique_is_1(api: Api, max_count: object) -> None:
    """The max_count of a UNIQUE promo must be 1."""
    body = promo_body(promo_unique=["one", "two"], max_count=max_count)
    assert _refused(api.sign_up_company(), body) == {"/max_count"}


@pytest.mark.parametrize("values", [["abc"], ["ж" * 30], ["same", "same"], [f"code-{n}" for n in range(5000)]])
def test_lists_of_values(api: Api, values: list[str]) -> None:
    """A list has 1 to 5000 values of 3 to 30 characters, and may have duplicates."""
    assert _shown(api.sign_up_company(), promo_unique=values)["promo_unique"] == values


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ([], ""),
        ([f"code-{n}" for n in range(5001)], ""),
        ("abc", ""),
        ({"0": "abc"}, ""),
        (["abc", "ab"], "/1"),
        (["v" * 31], "/0"),
        (["abc", None], "/1"),
        (["abc", 123], "/1"),
        (["abc", "d\x00ef"], "/1"),
    ],
)
def test_invalid_lists_of_values(api: Api, values: object, pointer: str) -> None:
    """Any other list is a 400."""
    assert _refused(api.sign_up_company(), promo_body(promo_unique=values)) == {f"/promo_unique{pointer}"}


def test_largest_promo(api: Api) -> None:
    """The longest list of the longest values is accepted, even if each character takes twelve bytes."""
    company = api.sign_up_company()
    values = ["\U0001f680" * 30] * 5000
    sent = json.dumps(promo_body(promo_unique=values)).encode()
    response = company.post(PROMO, content=sent, headers={"Content-Type": "application/json"})
    assert response.status_code == 201
    assert company.get(f"{PROMO}/{response.json()['id']}").json()["promo_unique"] == values


@pytest.mark.parametrize("member", ["mode", "description", "target", "max_count", "promo_common"])
def test_common_requires(api: Api, member: str) -> None:
    """The mode, description, target, max_count and value of a COMMON promo are required."""
    assert _refused(api.sign_up_company(), promo_body(**{member: None})) == {f"/{member}"}


@pytest.mark.parametrize("member", ["mode", "description", "target", "max_count", "promo_unique"])
def test_unique_requires(api: Api, member: str) -> None:
    """The mode, description, target, max_count and values of a UNIQUE promo are required."""
    body = promo_body(promo_unique=["one", "two"])
    del body[member]
    assert _refused(api.sign_up_company(), body) == {f"/{member}"}


def test_common_has_no_list(api: Api) -> None:
    """A COMMON promo with a list of values is a 400."""
    body = promo_body() | {"promo_unique": ["one", "two"]}
    assert _refused(api.sign_up_company(), body) == {"/promo_unique"}


def test_unique_has_no_common_value(api: Api) -> None:
    """A UNIQUE promo with a common value is a 400."""
    body = promo_body(promo_unique=["one", "two"]) | {"promo_common": "half-price"}
    assert _refused(api.sign_up_company(), body) == {"/promo_common"}


@pytest.mark.parametrize("mode", ["common", "BOTH", "", 1, ["COMMON"], {}])
def test_invalid_mode(api: Api, mode: object) -> None:
    """A mode other than COMMON and UNIQUE, in upper case, is a 400."""
    assert _refused(api.sign_up_company(), promo_body(mode=mode)) == {"/mode"}


@pytest.mark.parametrize("member", ["description", "promo_common"])
@pytest.mark.parametrize("value", [1234567890, ["a long description"], "a long\x00description"])
def test_invalid_texts(api: Api, member: str, value: object) -> None:
    """A text that is not a string, or that contains U+0000, is a 400."""
    assert f"/{member}" in _refused(api.sign_up_company(), promo_body(**{member: value}))


@pytest.mark.parametrize("url", ["", "https://", "grpc://x", "a@b", "example.com/x", 5])
def test_invalid_image_url(api: Api, url: object) -> None:
    """An image_url that is not an http URL with a host is a 400."""
    assert _refused(api.sign_up_company(), promo_body(image_url=url)) == {"/image_url"}


@pytest.mark.parametrize(
    "member", ["mode", "description", "image_url", "target", "max_count", "promo_common", "active_from", "active_until"]
)
def test_null(api: Api, member: str) -> None:
    """A null is a 400, also for optional members."""
    assert _refused(api.sign_up_company(), promo_body() | {member: None}) == {f"/{member}"}


@pytest.mark.parametrize(
    "period", [("2025-01-10", "2025-01-10"), ("0001-01-01", "9999-12-31"), ("2024-02-29", "2024-03-01")]
)
def test_periods(api: Api, period: tuple[str, str]) -> None:
    """A period may begin and end on the same date, and on any date of the calendar."""
    shown = _shown(api.sign_up_company(), active_from=period[0], active_until=period[1])
    assert (shown["active_from"], shown["active_until"]) == period


@pytest.mark.parametrize("member", ["active_from", "active_until"])
def test_half_open_periods(api: Api, member: str) -> None:
    """A period may have only a first or only a last day. The other is not returned."""
    shown = _shown(api.sign_up_company(), **{member: "2025-01-10"})
    assert {name for name in shown if name in ("active_from", "active_until")} == {member}


def test_period_may_not_end_before_it_begins(api: Api) -> None:
    """A period that ends before it begins is a 400."""
    body = promo_body(active_from="2025-01-11", active_until="2025-01-10")
    assert _refused(api.sign_up_company(), body) == {"/active_until"}


@all_cases("member", ["active_from", "active_until"])
@all_cases(
    "value",
    [
        "2025-1-1",
        "2025-02-29",
        "2025-13-01",
        "20250110",
        "2025-01-10T00:00:00Z",
        "10.01.2025",
        "2025-W03-4",
        "",
        20250110,
        "0000-01-01",
        "10000-01-01",
        "2025-01-10\n",
        " 2025-01-10",
        "٢٠٢٥-01-10",
        ["2025-01-10"],
    ],
)
def test_invalid_dates(api: Api, member: str, value: object) -> None:
    """Anything but a date such as 2025-01-10 is a 400."""
    assert _refused(api.sign_up_company(), promo_body(**{member: value})) == {f"/{member}"}


@pytest.mark.parametrize("member", ["id", "company_id", "active", "used_count", "max_Count"])
def test_unknown_members(api: Api, member: str) -> None:
    """An unknown member is a 400, even if responses have it."""
    assert _refused(api.sign_up_company(), promo_body() | {member: str(uuid4())}) == {f"/{member}"}


@pytest.mark.parametrize("body", [None, [], [promo_body()], "promo", 5, {}])
def test_body_that_is_not_a_promo(api: Api, body: object) -> None:
    """A body that is not an object, or is an empty one, is a 400."""
    assert api.sign_up_company().post(PROMO, json=body).status_code == 400


def test_promo_of_another_company(api: Api) -> None:
    """Reading the promo of another company is a 403. An unknown promo is a 404."""
    promo_id = api.sign_up_company().create_promo(promo_common="not-yours")
    other = api.sign_up_company()
    response = other.get(f"{PROMO}/{promo_id}")
    assert (response.status_code, "not-yours" in response.text) == (403, False)
    assert other.get(f"{PROMO}/{uuid4()}").status_code == 404
