"""How many SQL statements each operation sends: the number is constant, never one per row."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.accounts import PASSWORD, Account, Api, company_body, promo_body, user_body
from tests.statements import sent_statements

Count = Callable[[Callable[[], Any]], int]


@pytest.fixture
def count() -> Count:
    """Counts the statements that a successful request sends to the database."""

    def count_statements(action: Callable[[], Any]) -> int:
        with sent_statements() as sent:
            response = action()
        assert response.is_success, response.text
        return len(sent)

    return count_statements


def test_ping(api: Api, count: Count) -> None:
    """The liveness check sends no statement."""
    assert count(lambda: api.call("GET", "/ping")) == 0


@pytest.mark.parametrize(("kind", "body"), [("business", company_body), ("user", user_body)])
def test_accounts(api: Api, count: Count, kind: str, body: Callable[[], dict[str, Any]]) -> None:
    """A sign-up takes one statement, a sign-in three and a sign-out two."""
    account = body()
    assert count(lambda: api.call("POST", f"/{kind}/auth/sign-up", json=account)) == 1
    credentials = {"email": account["email"], "password": PASSWORD}
    assert count(lambda: api.call("POST", f"/{kind}/auth/sign-in", json=credentials)) == 3
    token = api.call("POST", f"/{kind}/auth/sign-in", json=credentials).json()["token"]
    assert count(lambda: api.call("POST", f"/{kind}/auth/sign-out", token=token)) == 2


def test_keys(api: Api, company: Account, count: Count) -> None:
    """A request with an API key takes as many statements as one with a token, and the first of a worker one more."""
    body = {"name": "Shop", "scopes": ["read"]}
    key = company.post("/business/keys", json=body).json()
    statements = count(lambda: company.get("/business/promo"))
    headers = {"X-Api-Key": key["key"]}
    assert [count(lambda: api.call("GET", "/business/promo", headers=headers)) for _ in range(3)] == [
        statements + 1,
        statements,
        statements,
    ]
    assert count(lambda: company.get("/business/keys")) == 2
    assert count(lambda: company.post("/business/keys", json=body)) == 3
    assert count(lambda: company.delete(f"/business/keys/{key['id']}")) == 4


def test_profile(user: Account, count: Count) -> None:
    """A profile takes the statement that checks the token; a change takes one more, an empty patch none."""
    assert count(lambda: user.get("/user/profile")) == 1
    assert count(lambda: user.patch("/user/profile", json={"name": "Bob", "password": "N3w&Better"})) == 2
    assert count(lambda: user.patch("/user/profile", json={"name": None})) == 1


def test_export(company: Account, user: Account, count: Count) -> None:
    """An export takes eight statements, with any number of activations."""
    assert count(lambda: user.get("/user/export")) == 8
    promo_ids = [company.create_promo(), *(company.create_promo(promo_unique=["one", "two"]) for _ in range(2))]
    for promo_id in promo_ids * 2:
        assert user.post(f"/user/promo/{promo_id}/activate").is_success
    assert count(lambda: user.get("/user/export")) == 8


def test_feed(company: Account, user: Account, count: Count) -> None:
    """A feed takes three statements, or two if it has no stored total, with any number of promos and any filter."""
    for _ in range(12):
        company.create_promo(target={"categories": ["statements"]})
    for query in ("", "?limit=100", "?category=statements&active=true&limit=5&offset=2"):
        assert count(lambda query=query: user.get(f"/user/feed{query}")) == 3  # type: ignore[misc]
    for query in ("?q=coffee", f"?company_id={company.id}&limit=100", "?liked=true&active=true&q=half"):
        assert count(lambda query=query: user.get(f"/user/feed{query}")) == 2  # type: ignore[misc]
    assert count(lambda: user.get("/user/feed?q=%26%26")) == 1
    assert count(lambda: user.get("/user/feed?limit=0")) == 2


@pytest.mark.parametrize("changes", [{}, {"promo_unique": [f"code-{n}" for n in range(1000)]}])
def test_activation(
    company: Account, user: Account, count: Count, cached_verdict: Callable[[Account], None], changes: dict[str, Any]
) -> None:
    """An activation takes three statements in both modes, or two with a cached verdict."""
    promo_id = company.create_promo(**changes)
    for _ in range(2):
        assert count(lambda: user.post(f"/user/promo/{promo_id}/activate")) == 3
    cached_verdict(user)
    for _ in range(2):
        assert count(lambda: user.post(f"/user/promo/{promo_id}/activate")) == 2


def test_promo_history_and_likes(company: Account, user: Account, count: Count) -> None:
    """A promo, a like and an unlike take two statements each; a history or list of codes takes three."""
    promo_id, unique_id = company.create_promo(), company.create_promo(promo_unique=["one", "two"])
    assert count(lambda: user.get(f"/user/promo/{promo_id}")) == 2
    assert count(lambda: user.post(f"/user/promo/{promo_id}/like")) == 2
    assert count(lambda: user.delete(f"/user/promo/{promo_id}/like")) == 2
    for _ in range(12):
        user.post(f"/user/promo/{promo_id}/activate")
    user.post(f"/user/promo/{unique_id}/activate")
    assert count(lambda: user.get("/user/promo/history?limit=100")) == 3
    assert count(lambda: user.get("/user/activations?limit=100")) == 3


def test_comments(company: Account, user: Account, count: Count) -> None:
    """Creating or reading a comment takes two statements, deleting three, editing four, and a list three."""
    path = f"/user/promo/{company.create_promo()}/comments"
    body = {"text": "The cappuccino was worth it."}
    ids = [user.post(path, json=body).json()["id"] for _ in range(12)]
    assert count(lambda: user.post(path, json=body)) == 2
    assert count(lambda: user.get(f"{path}?limit=100")) == 3
    assert count(lambda: user.get(f"{path}/{ids[0]}")) == 2
    assert count(lambda: user.put(f"{path}/{ids[0]}", json=body)) <= 4
    assert count(lambda: user.delete(f"{path}/{ids[0]}")) <= 3


def test_promos_of_a_company(company: Account, count: Count) -> None:
    """A new promo takes two statements, a list three, and a change five to twelve, depending on what changes."""
    assert count(lambda: company.post("/business/promo", json=promo_body())) == 2
    promo_id = company.create_promo()
    for _ in range(9):
        company.create_promo()
    for query in ("", "&sort_by=active_from", "&country=ru&sort_by=active_until", "&country=ru,fr&offset=3"):
        assert count(lambda query=query: company.get(f"/business/promo?limit=100{query}")) == 3  # type: ignore[misc]
    for query in ("&state=active", "&q=half+price", "&state=paused,active&mode=COMMON&q=half&country=ru"):
        assert count(lambda query=query: company.get(f"/business/promo?limit=100{query}")) == 2  # type: ignore[misc]
    assert count(lambda: company.get("/business/promo?limit=0&country=ru")) == 2
    assert count(lambda: company.get(f"/business/promo/{promo_id}")) == 2
    patch = {"description": "A new description", "target": {"country": "ru"}, "max_count": 5}
    by_age = {"target": {"country": "ru", "age_from": 18}, "max_count": 6}
    for changes, number in (
        (patch, 13),
        (by_age, 10),
        ({"description": "Another description"}, 8),
        (by_age, 5),
        ({}, 5),
    ):
        change = partial(company.patch, f"/business/promo/{promo_id}", json=changes)
        assert count(change) == number


def test_changes_of_a_promo(company: Account, count: Count) -> None:
    """The changes of a promo take four statements, for any number of changes; an empty page takes three."""
    promo_id = company.create_promo()
    for number in range(12):
        company.patch(f"/business/promo/{promo_id}", json={"max_count": number})
    for query, number in (("", 4), ("?limit=100", 4), ("?offset=5&limit=2", 4), ("?limit=0", 3), ("?offset=99", 3)):
        assert count(partial(company.get, f"/business/promo/{promo_id}/changes{query}")) == number


def test_code_lists(company: Account, count: Count) -> None:
    """Creating a promo with any number of codes takes two; reading uncached codes takes one more for all promos."""
    values = [f"code-{n}" for n in range(1000)]
    assert count(lambda: company.post("/business/promo", json=promo_body(promo_unique=values))) == 2
    ids = [company.create_promo(promo_unique=["one", "two"]) for _ in range(9)]
    assert [count(lambda: company.get(f"/business/promo/{ids[0]}")) for _ in range(2)] == [3, 2]
    assert [count(lambda: company.get("/business/promo?limit=100")) for _ in range(2)] == [4, 3]
    new_id = company.create_promo(promo_unique=["one", "two"])
    patches = [{"description": f"Another description, {number}"} for number in range(2)]
    assert [count(partial(company.patch, f"/business/promo/{new_id}", json=change)) for change in patches] == [9, 8]


def test_statistics(api: Api, company: Account, count: Count) -> None:
    """Statistics take four statements, for any number of countries."""
    promo_id = company.create_promo()
    for country in ("ru", "fr", "us"):
        api.sign_up_user(country=country).post(f"/user/promo/{promo_id}/activate")
        assert count(lambda: company.get(f"/business/promo/{promo_id}/stat")) == 4


def test_malformed_token(api: Api) -> None:
    """A malformed token is refused without a statement."""
    with sent_statements() as sent:
        assert api.call("GET", "/user/profile", token="no-token").status_code == 401
    assert sent == []
