"""The export: all that is kept about a user, and nothing of others."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from handlers import user_export
from persistence import exports
from promo_api.runtime import Runtime
from tests.people import Account, Api

EXPORT = "/user/export"
LISTS = ("likes", "comments", "activations", "idempotency_keys")


@pytest.fixture
def company(api: Api) -> Account:
    """A company without promos."""
    return api.sign_up_company()


def _activate(user: Account, promo_id: str, key: str | None = None) -> str:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = user.post(f"/user/promo/{promo_id}/activate", headers=headers)
    assert answer.status_code == 200, answer.text
    value: str = answer.json()["promo"]
    return value


def _exported(user: Account, offset: int = 0) -> dict[str, Any]:
    answer = user.get(EXPORT, params={"offset": offset} if offset else {})
    assert answer.status_code == 200, answer.text
    export: dict[str, Any] = answer.json()
    return export


def test_of_a_user_who_did_nothing(api: Api, runtime: Runtime) -> None:
    """A new user has an account and a profile, and lists with nothing in them."""
    user = api.sign_up_user(avatar_url="https://example.com/a.png")
    claims = runtime.tokens.read(user.token, "user")
    assert claims is not None
    export = _exported(user)
    assert export["account"]["id"] == str(claims.account_id)
    assert export["account"]["date"] <= runtime.clock().isoformat()
    assert [event["event"] for event in export["events"]] == ["signed_up"]
    assert export["profile"] == user.get("/user/profile").json()
    assert [export[name] for name in LISTS] == [[], [], [], []]


def test_has_all_that_the_user_did(api: Api, company: Account) -> None:
    """Likes, comments, activations of both modes with the codes that they gave, and the keys of their requests."""
    user, key = api.sign_up_user(country="FR"), str(uuid4())
    common = company.create_promo(promo_common="for-everybody")
    unique = company.create_promo(promo_unique=["first", "second", "third"])
    given = [_activate(user, unique), _activate(user, common), _activate(user, unique, key)]
    for promo_id in (common, unique):
        user.post(f"/user/promo/{promo_id}/like")
    comments = [user.post(f"/user/promo/{common}/comments", json={"text": f"Comment {n:05}"}).json() for n in range(3)]
    export = _exported(user)
    assert export["likes"] == sorted([common, unique])
    kept = [{name: comment[name] for name in ("id", "text", "date")} for comment in comments]
    assert export["comments"] == [comment | {"promo_id": common} for comment in kept]
    assert [(entry["promo_id"], entry["promo"]) for entry in export["activations"]] == list(
        zip([unique, common, unique], given, strict=True)
    )
    assert {entry["country"] for entry in export["activations"]} == {"fr"}
    assert [entry["date"] for entry in export["activations"]] == sorted(e["date"] for e in export["activations"])
    assert [(entry["operation"], entry["key"], entry["answer"]) for entry in export["idempotency_keys"]] == [
        ("user_activations.activate_promo", key, {"promo": given[2]})
    ]


def test_has_answers_that_are_kept(api: Api, company: Account) -> None:
    """A comment that is deleted, and the name that its author had, are kept in the answer for a while."""
    user, key = api.sign_up_user(), str(uuid4())
    comments = f"/user/promo/{company.create_promo()}/comments"
    answer = user.post(comments, json={"text": "Not for long"}, headers={"Idempotency-Key": key}).json()
    user.patch("/user/profile", json={"name": "Somebody"})
    user.delete(f"{comments}/{answer['id']}")
    export = _exported(user)
    assert export["comments"] == []
    assert [(entry["key"], entry["answer"]) for entry in export["idempotency_keys"]] == [(key, answer)]


def test_has_what_happened_to_the_account(api: Api) -> None:
    """Sign-ins and changes are in it, the oldest first; of a change it tells what, and not from what to what."""
    user = api.sign_up_user()
    user.patch("/user/profile", json={"surname": "Moore"})
    credentials = {name: user.body[name] for name in ("email", "password")}
    user.token = api.call("POST", "/user/auth/sign-in", json=credentials).json()["token"]
    events = [{name: event[name] for name in event if name != "date"} for event in _exported(user)["events"]]
    changed = {"event": "profile_changed", "members": ["surname"]}
    assert events == [{"event": "signed_up"}, changed, {"event": "signed_in"}]


def test_has_nothing_of_others(api: Api, company: Account, runtime: Runtime) -> None:
    """What another user did with the same promos is not in it, nor is any password hash."""
    user, other = api.sign_up_user(), api.sign_up_user(name="Eve", surname="Moore")
    promo_id = company.create_promo(promo_unique=["hers", "his"])
    _activate(other, promo_id, str(uuid4()))
    other.post(f"/user/promo/{promo_id}/like")
    other.post(f"/user/promo/{promo_id}/comments", json={"text": "A comment of Eve"})
    assert [_exported(user)[name] for name in LISTS] == [[], [], [], []]
    assert _activate(user, promo_id) == "his"
    told = user.get(EXPORT).text
    assert "hers" not in told
    with runtime.database.autocommit() as connection:
        hashes = connection.execute(
            text("SELECT password_hash FROM users WHERE email = ANY(:emails)"),
            {"emails": [user.body["email"], other.body["email"]]},
        ).scalars()
        assert not any(password_hash in told for password_hash in hashes)


@pytest.mark.parametrize("portion", [1, 2, 3, 100])
def test_goes_on_where_lists_are_long(
    api: Api, company: Account, monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    """What does not fit in comes with an offset, in whatever portions it is read: each entry once, in its order."""
    monkeypatch.setattr(user_export, "_ENTRIES_MAX", 3)
    monkeypatch.setattr(exports, "_PORTION", portion)
    user = api.sign_up_user()
    promos = [company.create_promo(), company.create_promo(promo_unique=[f"code-{n}" for n in range(9)])]
    given = [_activate(user, promos[n % 2]) for n in range(7)]
    for _ in range(4):
        user.post(f"/user/promo/{promos[0]}/comments", json={"text": "Another comment"})
    exports_ = [_exported(user, offset) for offset in (0, 3, 6, 9)]
    assert [len(export["activations"]) for export in exports_] == [3, 3, 1, 0]
    assert [entry["promo"] for export in exports_ for entry in export["activations"]] == given
    assert [len(export["comments"]) for export in exports_] == [3, 1, 0, 0]
    assert len({entry["id"] for export in exports_ for entry in export["comments"]}) == 4


_MANY = text("""
    INSERT INTO activations (promo_id, user_id, id, country_key)
    SELECT :promo, :user, gen_random_uuid(), 'ru' FROM generate_series(1, 10000)
""")


def test_of_ten_thousand_activations(api: Api, company: Account, runtime: Runtime) -> None:
    """Ten thousand activations are in one document, and the next one is empty."""
    user = api.sign_up_user()
    claims = runtime.tokens.read(user.token, "user")
    assert claims is not None
    promo_id = company.create_promo(promo_common="for-everybody")
    with runtime.database.engine.connect() as connection:
        # Never committed but for this test's sight: nothing keeps the numbers of these.
        connection.execute(_MANY, {"promo": promo_id, "user": claims.account_id})
        listed = exports.list_own_activations(connection, claims.account_id, limit=10_000, offset=0)
        further = exports.list_own_activations(connection, claims.account_id, limit=10_000, offset=10_000)
        connection.rollback()
    assert (len({entry.id for entry in listed}), {entry.promo for entry in listed}) == (10_000, {"for-everybody"})
    assert further == []
