"""The export: all data stored about a user, and none of others."""

from collections.abc import Callable
from json import dumps
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from handlers import user_export
from persistence.accounts.users import User, find_user
from promo_api.runtime import Runtime
from tests.accounts import Account, Api

EXPORT = "/user/export"
LISTS = ("likes", "comments", "activations", "idempotency_keys")


def _activate(user: Account, promo_id: str, key: str | None = None) -> str:
    headers = {} if key is None else {"Idempotency-Key": key}
    response = user.post(f"/user/promo/{promo_id}/activate", headers=headers)
    assert response.status_code == 200, response.text
    value: str = response.json()["promo"]
    return value


def _export(user: Account, offset: int = 0) -> dict[str, Any]:
    response = user.get(EXPORT, params={"offset": offset} if offset else {})
    assert response.status_code == 200, response.text
    export: dict[str, Any] = response.json()
    return export


def test_new_user(api: Api, runtime: Runtime) -> None:
    """The export of a new user has the account, the profile, the sign-up and empty lists."""
    user = api.sign_up_user(avatar_url="https://example.com/a.png")
    claims = runtime.tokens.read(user.token, "user")
    export = _export(user)
    assert export["account"]["id"] == str(claims.account_id)
    assert export["account"]["date"] <= runtime.clock().isoformat()
    assert [event["event"] for event in export["events"]] == ["signed_up"]
    assert export["profile"] == user.get("/user/profile").json()
    assert [export[name] for name in LISTS] == [[], [], [], []]


def test_contains_all_actions(api: Api, company: Account) -> None:
    """The export contains likes, comments, activations with their codes, and idempotency keys."""
    user, key = api.sign_up_user(country="FR"), str(uuid4())
    common = company.create_promo(promo_common="for-everybody")
    unique = company.create_promo(promo_unique=["first", "second", "third"])
    values = [_activate(user, unique), _activate(user, common), _activate(user, unique, key)]
    for promo_id in (common, unique):
        user.post(f"/user/promo/{promo_id}/like")
    comments = [user.post(f"/user/promo/{common}/comments", json={"text": f"Comment {n:05}"}).json() for n in range(3)]
    export = _export(user)
    assert export["likes"] == sorted([common, unique])
    own = [{name: comment[name] for name in ("id", "text", "date")} for comment in comments]
    assert export["comments"] == [comment | {"promo_id": common} for comment in own]
    assert [(entry["promo_id"], entry["promo"]) for entry in export["activations"]] == list(
        zip([unique, common, unique], values, strict=True)
    )
    assert {entry["country"] for entry in export["activations"]} == {"fr"}
    assert [entry["date"] for entry in export["activations"]] == sorted(e["date"] for e in export["activations"])
    assert [(entry["operation"], entry["key"], entry["answer"]) for entry in export["idempotency_keys"]] == [
        ("user_activations.activate_promo", key, {"promo": values[2]})
    ]


def test_contains_stored_responses(api: Api, company: Account) -> None:
    """The stored response to a request contains a comment that is deleted since, with its author's old name."""
    user, key = api.sign_up_user(), str(uuid4())
    comments = f"/user/promo/{company.create_promo()}/comments"
    response = user.post(comments, json={"text": "Not for long"}, headers={"Idempotency-Key": key}).json()
    user.patch("/user/profile", json={"name": "Somebody"})
    user.delete(f"{comments}/{response['id']}")
    export = _export(user)
    assert export["comments"] == []
    assert [(entry["key"], entry["answer"]) for entry in export["idempotency_keys"]] == [(key, response)]


def test_contains_account_events(api: Api) -> None:
    """The export lists sign-ins and changes, oldest first. A change has the member names, not the values."""
    user = api.sign_up_user()
    user.patch("/user/profile", json={"surname": "Moore"})
    credentials = {name: user.body[name] for name in ("email", "password")}
    user.token = api.call("POST", "/user/auth/sign-in", json=credentials).json()["token"]
    events = [{name: event[name] for name in event if name != "date"} for event in _export(user)["events"]]
    changed = {"event": "profile_changed", "members": ["surname"]}
    assert events == [{"event": "signed_up"}, changed, {"event": "signed_in"}]


def test_contains_no_data_of_others(api: Api, company: Account, runtime: Runtime) -> None:
    """The export contains no actions of another user on the same promos, and no password hash."""
    user, other = api.sign_up_user(), api.sign_up_user(name="Eve", surname="Moore")
    promo_id = company.create_promo(promo_unique=["hers", "his"])
    _activate(other, promo_id, str(uuid4()))
    other.post(f"/user/promo/{promo_id}/like")
    other.post(f"/user/promo/{promo_id}/comments", json={"text": "A comment of Eve"})
    assert [_export(user)[name] for name in LISTS] == [[], [], [], []]
    assert _activate(user, promo_id) == "his"
    exported = user.get(EXPORT).text
    assert "hers" not in exported
    with runtime.database.autocommit() as connection:
        hashes = connection.execute(
            text("SELECT password_hash FROM users WHERE email = ANY(:emails)"),
            {"emails": [user.body["email"], other.body["email"]]},
        ).scalars()
        assert not any(password_hash in exported for password_hash in hashes)


def _find_user(runtime: Runtime, account: Account) -> User:
    claims = runtime.tokens.read(account.token, "user")
    with runtime.database.autocommit() as connection:
        user = find_user(connection, claims.account_id)
    assert user is not None
    return user


def _portions(get: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the portions that a client gets by following `next_offset`."""
    portions = [get(0)]
    while "next_offset" in portions[-1]:
        portions.append(get(portions[-1]["next_offset"]))
    return portions


@pytest.mark.parametrize("entries", [1, 2, 3, 7, 100])
def test_portions(api: Api, company: Account, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, entries: int) -> None:
    """Portions of any size hold each entry once and in order. Only the last portion has no `next_offset`."""
    account = api.sign_up_user()
    promos = [company.create_promo(), company.create_promo(promo_unique=[f"code-{n}" for n in range(9)])]
    values = [_activate(account, promos[n % 2], f"key-{n}") for n in range(7)]
    for n in range(4):
        account.post(f"/user/promo/{promos[0]}/comments", json={"text": f"Comment number {n}"})
    user = _find_user(runtime, account)
    monkeypatch.setattr(user_export, "MAX_EXPORT_ENTRIES", entries)
    portions = _portions(lambda offset: user_export.get_export(runtime, user, offset=offset))
    assert len(portions) == -(-7 // entries)
    assert all(len(portion[name]) <= entries for portion in portions for name in LISTS)
    whole = {name: [entry for portion in portions for entry in portion[name]] for name in LISTS}
    assert [entry["promo"] for entry in whole["activations"]] == values
    assert [entry["text"] for entry in whole["comments"]] == [f"Comment number {n}" for n in range(4)]
    assert [entry["key"] for entry in whole["idempotency_keys"]] == [f"key-{n}" for n in range(7)]
    assert all(portion["profile"]["email"] == account.email for portion in portions)


_COMMENTS = text("""
    INSERT INTO comments (promo_id, id, author_id, text, country_key)
    SELECT :promo, gen_random_uuid(), :user, :comment, 'ru' FROM generate_series(1, :number)
""")
_ACTIVATIONS = text("""
    INSERT INTO activations (promo_id, user_id, id, country_key, activated_at)
    SELECT :promo, :user, gen_random_uuid(), 'ru', clock_timestamp() FROM generate_series(1, :number)
""")
_KEYS = text("""
    INSERT INTO kept_answers (account_id, operation, key, fingerprint, status, body, expires_at)
    SELECT :user, 'user_comments.create_comment', lpad(n::text, 255, '"'), '', 201, :body, timestamptz '2099-01-01'
    FROM generate_series(1, :number) n
""")
_EVENTS = text("""
    INSERT INTO account_log (account_id, event, members)
    SELECT :user, 'profile_changed', '{name,surname,avatar_url}' FROM generate_series(1, :number)
""")
# The counts of these rows in other tables.
_COUNTS = (
    text("""
        UPDATE promo_counters SET used_count = :number, comment_count = comment_count + :number WHERE promo_id = :promo
    """),
    text("INSERT INTO country_uses VALUES (:promo, 'ru', :number)"),
    text("""
        INSERT INTO promo_activity (promo_id, quarter, country_key, activations)
        SELECT promo_id, quarter_of(activated_at), country_key, count(*) FROM activations WHERE promo_id = :promo
        GROUP BY 1, 2, 3
        ON CONFLICT (promo_id, quarter, country_key) DO UPDATE SET activations = excluded.activations
    """),
    text("INSERT INTO user_uses VALUES (:user, :number)"),
)


def test_largest_portion(api: Api, company: Account, runtime: Runtime) -> None:
    """A response stays below 4 MB with the longest lists and texts. The next portions return the rest."""
    # Six bytes in JSON. A text with it can only be older than the rule that refuses it.
    worst, new = "\x01", "\U0001f680"
    avatar = f"https://example.com/{'a' * 330}"
    account = api.sign_up_user(name=new * 100, surname=new * 120, avatar_url=avatar)
    user, promo_id = _find_user(runtime, account), company.create_promo(promo_common=new * 30)
    comment = account.post(f"/user/promo/{promo_id}/comments", json={"text": new * 1000}).json()
    values = {"user": user.id, "promo": promo_id, "comment": worst * 1000, "body": dumps(comment), "number": 600}
    with runtime.database.engine.begin() as connection:
        for statement in (_COMMENTS, _ACTIVATIONS, _KEYS, _EVENTS, *_COUNTS):
            connection.execute(statement, values)
    sizes, offset = [], 0
    while offset is not None:
        response = account.get(EXPORT, params={"offset": offset})
        sizes.append(len(response.content))
        offset = response.json().get("next_offset")
    assert len(sizes) == 3
    assert 3_000_000 < max(sizes) < 4_000_000
