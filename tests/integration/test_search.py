"""Searches of the company list and of feeds by words (`q`)."""

from collections.abc import Callable
from unicodedata import normalize
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update

from persistence.schema.tables import promos
from promo_api.runtime import Runtime
from promo_api.sweeper import search_words_sweeper
from tests.accounts import Account, Api
from tests.cases import all_cases
from tests.integration.walks import walk

Found = Callable[..., tuple[list[str], list[str]]]


def _list(account: Account, path: str, **query: object) -> list[str]:
    response = account.get(path, params={"limit": 100, **query})
    assert response.status_code == 200, response.text
    ids = [promo["promo_id"] for promo in response.json()]
    assert int(response.headers["X-Total-Count"]) == len(ids)
    return ids


@pytest.fixture
def found(company: Account, user: Account) -> Found:
    """Searches the list of the company, and its promos in the feed of the user."""

    def search(q: str) -> tuple[list[str], list[str]]:
        own = _list(company, "/business/promo", q=q)
        in_feed = _list(user, "/user/feed", q=q, company_id=company.id)
        # Other tests have promos with the same words.
        pages = walk(user, f"/user/feed?{urlencode({'limit': 100, 'q': q})}")
        assert [promo["promo_id"] for page in pages for promo in page.json() if promo["promo_id"] in own] == in_feed
        return own, in_feed

    return search


@all_cases(
    ("description", "q"),
    [
        ("Twenty percent off any coffee", "coffee"),
        ("Twenty percent off any coffee", "COF"),
        ("Twenty percent off any coffee", "any  twenty"),
        ("Twenty percent off any coffee", "cof, off!"),
        ("Twenty percent off any coffee", "coffee coffee cof"),
        ("Скидка на КОФЕ и чай", "кофе"),
        ("Straße der Sonne", "STRASSE"),
        ("Strasse der Sonne", "straß"),
        ("Γλυκός καφές", "ΓΛΥΚΌΣ"),
        ("Café au lait", "cafe\u0301"),
        (normalize("NFD", "Йод и крем"), "йод"),
        ("ISPARTA gülleri", "\u0131sparta"),
        ("İzmir tatl\u0131s\u0131", "izmir TATLISI"),
        (normalize("NFD", "한국 음식 할인 행사"), "한국"),
        ("हिन्दी भाषा की किताब", "भाषा"),
        ("10% off, don't miss it", "don't 10%"),
        ("snake_case-and|pipes", "case pipes"),
        ("☕️coffee for you ☕️", "coffee ☕️"),
        ("Line one\nline\ttwo of it", "one two"),
        ("x" * 150 + " and more", "x" * 100),
    ],
)
def test_found_by_words(found: Found, company: Account, description: str, q: str) -> None:
    """A promo is found by the beginnings of its words, in any order, case and normal form."""
    promo_id = company.create_promo(description=description)
    assert [ids[:1] for ids in found(q)] == [[promo_id]] * 2


@all_cases(
    "q",
    [
        ("any cafe",),
        ("coffees",),
        ("offee",),
        ("coffee tea",),
        ("coffee & tea",),
        ("coffee | tea nothing",),
        ("!tea:*",),
        ("co*ee",),
        ("%offee",),
    ],
)
def test_not_found(found: Found, company: Account, q: str) -> None:
    """Every word must begin a word of the promo; other words, the middle of a word and operators find nothing."""
    company.create_promo(description="Any coffee, not café")
    assert found(q) == ([], [])


@all_cases(
    "q",
    [
        ("''",),
        ("':*",),
        ("\\\\",),
        ("&|!",),
        ("(())",),
        ("<->",),
        ("☕️🎉",),
        ("//",),
        ("%_",),
        ("$$;--",),
    ],
)
def test_no_words(found: Found, company: Account, q: str) -> None:
    """A text without letters and digits finds nothing."""
    company.create_promo(description="Any coffee '' :* \\ &|! ☕️🎉 // %_ $$;--")
    assert found(q) == ([], [])


@all_cases(
    "q",
    [
        ("coffee'",),
        ("'coffee':*",),
        ("coffee\\",),
        ("\\'coffee",),
        ("coffee:a*",),
        ("coffee<->any",),
        ("(coffee & any) | !!!",),
        ("coffee'); DROP TABLE promos; --",),
    ],
)
def test_special_characters(found: Found, company: Account, q: str) -> None:
    """Characters that are special in SQL and in text searches separate words."""
    promo_id = company.create_promo(description="Any coffee a drop table promos")
    assert [ids[:1] for ids in found(q)] == [[promo_id]] * 2


@pytest.mark.parametrize("path", ["/business/promo", "/user/feed"])
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("q=", "must have at least 2 characters"),
        ("q=a", "must have at least 2 characters"),
        ("q=" + "a" * 101, "must have at most 100 characters"),
        ("q=%20%20", "must contain a visible character"),
        ("q=a%00b", "must not contain control characters or line breaks"),
        ("q=a%0Ab", "must not contain control characters or line breaks"),
        ("q=ab&q=cd", "must be given once"),
        ("q=%FFab", "must be percent-encoded UTF-8"),
    ],
)
def test_invalid_search(company: Account, user: Account, path: str, query: str, message: str) -> None:
    """A search text has 2 to 100 characters, no control characters, and is given once."""
    response = (company if path.startswith("/business") else user).get(f"{path}?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    [detail] = response.json()["details"]
    assert (detail["pointer"], detail["message"]) == ("/q", message)


def test_longest_search(found: Found, company: Account) -> None:
    """A search text of 100 characters finds a promo with all of its words."""
    words = " ".join(f"w{number}" for number in range(27))
    assert len(words) <= 100
    promo_id = company.create_promo(description=words)
    assert found(words.ljust(100, ".")) == ([promo_id], [promo_id])
    assert found("\U0001f600" * 100) == ([], [])


def test_categories(found: Found, company: Account) -> None:
    """The words of categories are found, together with those of the description."""
    promo_id = company.create_promo(description="Half of the price", target={"categories": ["Hot drinks", "ЧАЙ"]})
    for q in ("drink", "чай hot", "half ЧАЙ"):
        assert found(q) == ([promo_id], [promo_id])


def test_code_is_found_by_its_company_only(api: Api, company: Account, user: Account) -> None:
    """Only the company finds a promo by its common code: users would learn a code letter by letter."""
    code = f"Secret-{uuid4().hex[:12]}"
    promo_id = company.create_promo(promo_common=code)
    other = api.sign_up_company()
    for q in (code, code[:10].upper(), "secret half", code[7:11]):
        assert _list(company, "/business/promo", q=q) == [promo_id]
        assert _list(other, "/business/promo", q=q) == []
        for filters in ({}, {"company_id": company.id}, {"liked": "true"}):
            user.post(f"/user/promo/{promo_id}/like")
            assert promo_id not in _list(user, "/user/feed", q=q, **filters)
    prefix = UUID(company.id).hex[-8:]
    for q in (f"{prefix}/secret", f"{prefix}", f"{prefix}/half"):
        assert _list(user, "/user/feed", q=q, company_id=company.id) == []


def test_unique_codes_are_not_searched(found: Found, company: Account) -> None:
    """The codes of a UNIQUE promo are not searched."""
    company.create_promo(promo_unique=["summer-1", "summer-2"])
    assert found("summer") == ([], [])


def test_other_companies(api: Api, company: Account, found: Found, runtime: Runtime) -> None:
    """A company finds only its own promos, also if the prefix of another company is the same."""
    promo_id = company.create_promo(description="The same description")
    twin_promo = api.sign_up_company().create_promo(description="The same description")
    with runtime.database.transaction() as connection:
        words = connection.scalar(select(promos.c.search_words).where(promos.c.id == UUID(promo_id)))
        connection.execute(update(promos).where(promos.c.id == UUID(twin_promo)).values(search_words=words))
    assert found("same") == ([promo_id], [promo_id])


def test_change(found: Found, company: Account) -> None:
    """After a change, a promo is found by its new description and categories, and no more by the old ones."""
    promo_id = company.create_promo(description="Old long text", target={"categories": ["old kind"]})
    path = f"/business/promo/{promo_id}"
    company.patch(path, json={"description": "New description!"})
    assert [found(q)[0] for q in ("new", "old kind", "kind description")] == [[promo_id]] * 3
    assert found("text") == ([], [])
    company.patch(path, json={"target": {"categories": ["new kind"]}})
    assert [found(q)[0] for q in ("old", "new kind", "half")] == [[], [promo_id], [promo_id]]
    # The words are the same, the text is not.
    company.patch(path, json={"description": "New: description"})
    assert found("new description") == ([promo_id], [promo_id])
    company.patch(path, json={"target": {}, "max_count": 5, "active_until": "2999-01-01"})
    assert [found(q)[0] for q in ("kind", "new")] == [[], [promo_id]]


def test_refused_change(found: Found, company: Account) -> None:
    """A change that is refused does not change the words."""
    promo_id = company.create_promo(description="Old description", active_from="2025-01-10")
    body = {"description": "New description", "active_until": "2025-01-01"}
    assert company.patch(f"/business/promo/{promo_id}", json=body).status_code == 400
    assert [found(q)[0] for q in ("old", "new")] == [[promo_id], []]


def test_earlier_version(found: Found, company: Account, runtime: Runtime) -> None:
    """Promos that an earlier version creates or changes are found after the sweeper has computed their words."""
    created, changed = (company.create_promo(description="First description") for _ in range(2))
    sweeper = search_words_sweeper(runtime.database)
    while sweeper.sweep():
        pass
    statements = {
        "UPDATE promos SET search_words = NULL WHERE id = CAST(:id AS uuid)": created,
        "UPDATE promos SET description = 'Second description' WHERE id = CAST(:id AS uuid)": changed,
    }
    with runtime.database.transaction() as connection:
        for statement, promo_id in statements.items():
            connection.execute(text(statement), {"id": promo_id})
    assert found("description") == ([], [])
    assert [sweeper.sweep(), sweeper.sweep()] == [2, 0]
    assert found("description") == ([changed, created], [changed, created])
    assert [found(q)[0] for q in ("first", "second", "half")] == [[created], [changed], [changed, created]]
