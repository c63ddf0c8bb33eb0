"""Account events: what the audit log records of an account, and that no statement changes it."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import ProgrammingError

from persistence.schema.audit_tables import account_events
from persistence.schema.tables import companies, users
from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api

_NEW_PASSWORD = "N3w&Better"
_ACCOUNTS = {"business": companies, "user": users}
_OWNERS = {"business": account_events.c.company_id, "user": account_events.c.user_id}


@pytest.fixture
def connection(runtime: Runtime) -> Iterator[Connection]:
    """A connection in a transaction that is rolled back."""
    with runtime.database.engine.connect() as connection:
        yield connection


def _sign_up(api: Api, kind: str) -> Account:
    return api.sign_up_company() if kind == "business" else api.sign_up_user()


def _sign_in(account: Account, kind: str, password: str = PASSWORD) -> int:
    body = {"email": account.body["email"], "password": password}
    status: int = account.api.call("POST", f"/{kind}/auth/sign-in", json=body).status_code
    return status


def _events(connection: Connection, account: Account, kind: str = "user") -> list[Any]:
    """Return the events of an account, oldest first: each as its name, or as its name with the changed members."""
    table = _ACCOUNTS[kind]
    query = select(account_events.c.event, account_events.c.members).join(table, table.c.id == _OWNERS[kind])
    rows = connection.execute(query.where(table.c.email == account.body["email"]).order_by(account_events.c.id))
    return [event if members is None else (event, sorted(members)) for event, members in rows]


@pytest.mark.parametrize("kind", ["business", "user"])
def test_sign_up_and_sign_in(api: Api, connection: Connection, kind: str) -> None:
    """A sign-up and each successful sign-in are recorded. Failed sign-ups and sign-ins are not."""
    account = _sign_up(api, kind)
    assert [_sign_in(account, kind), _sign_in(account, kind, "Wr0ng&wrong"), _sign_in(account, kind)] == [200, 401, 200]
    assert api.call("POST", f"/{kind}/auth/sign-up", json=account.body).status_code == 409
    assert _events(connection, account, kind) == ["signed_up", "signed_in", "signed_in"]


def test_keys(api: Api, connection: Connection) -> None:
    """The creation and the revocation of an API key are recorded with its id. A refused creation is not."""
    company = api.sign_up_company()
    body = {"name": "Shop", "scopes": ["read"]}
    key = company.post("/business/keys", json=body).json()
    for _ in range(2):
        company.delete(f"/business/keys/{key['id']}")
    ids = [company.post("/business/keys", json=body).json().get("id") for _ in range(21)]
    assert ids[-1] is None
    events = account_events.c
    query = select(events.event, events.key_id).where(events.company_id == company.id).order_by(events.id)
    recorded = [(event, str(key_id)) for event, key_id in connection.execute(query)][1:]
    created = [("key_created", each) for each in ids[:-1]]
    assert recorded == [("key_created", key["id"]), ("key_revoked", key["id"]), *created]


def test_profile_changes(api: Api, connection: Connection) -> None:
    """A profile change is recorded with the names of the changed members. A new password has its own event."""
    user = api.sign_up_user()
    for changes in (
        {"name": "Beth", "surname": user.body["surname"]},
        {"name": "Beth", "avatar_url": None},
        {},
        {"surname": "Moore", "avatar_url": "https://example.com/b.png", "password": _NEW_PASSWORD},
        {"name": "Beth", "password": _NEW_PASSWORD},
    ):
        assert user.patch("/user/profile", json=changes).status_code == 200
    events = _events(connection, user)
    assert events[:2] == ["signed_up", ("profile_changed", ["name"])]
    # Two events of one statement have no order.
    assert {str(event) for event in events[2:4]} == {
        "password_changed",
        "('profile_changed', ['avatar_url', 'surname'])",
    }
    assert events[4:] == ["password_changed"]


def test_nothing_personal(api: Api, connection: Connection) -> None:
    """Events contain no values of the account."""
    user = api.sign_up_user()
    user.patch("/user/profile", json={"name": "Zebedee", "password": _NEW_PASSWORD})
    of_user = select(account_events).join(users, users.c.id == account_events.c.user_id)
    rows = str(connection.execute(of_user.where(users.c.email == user.body["email"])).all())
    assert "profile_changed" in rows
    assert not [value for value in ("Zebedee", *user.body.values()) if str(value) in rows.replace("avatar_url", "")]


_CHANGES = [
    "UPDATE {table} SET event = 'deleted'",
    "UPDATE {table} SET event = event WHERE false",
    "UPDATE {table} SET company_id = company_id",
    "DELETE FROM {table}",
    "DELETE FROM {table} WHERE false",
    "TRUNCATE {table}",
    "TRUNCATE companies CASCADE",
    "INSERT INTO {table} SELECT * FROM {table} ON CONFLICT ({key}) DO UPDATE SET event = 'deleted'",
]


@pytest.mark.parametrize("change", _CHANGES)
@pytest.mark.parametrize(("table", "key"), [("promo_changes", "promo_id, number"), ("account_events", "id")])
def test_entries_stay(api: Api, connection: Connection, table: str, key: str, change: str) -> None:
    """No statement changes or deletes an entry, even if the owner of the tables runs it."""
    api.sign_up_company().create_promo()
    statement = change.format(table=table, key=key)
    if statement.startswith("INSERT INTO account_events"):
        statement = statement.replace("SELECT", "OVERRIDING SYSTEM VALUE SELECT")
    with pytest.raises(ProgrammingError, match=r"of \w+ is refused: what it tells stays as it is"):
        connection.execute(text(statement))


@pytest.mark.parametrize("kind", ["business", "user"])
def test_events_follow_an_account(api: Api, connection: Connection, kind: str) -> None:
    """If the id of an account changes, its events follow. Nothing else can move them to another account."""
    account, new_id = _sign_up(api, kind), uuid4()
    _sign_in(account, kind)
    table, owner = _ACCOUNTS[kind], _OWNERS[kind]
    moved = table.update().where(table.c.email == account.body["email"]).values(id=new_id)
    assert connection.execute(moved).rowcount == 1
    assert _events(connection, account, kind) == ["signed_up", "signed_in"]
    of_new_id = select(account_events.c.event).where(owner == new_id).order_by(account_events.c.id)
    assert connection.scalars(of_new_id).all() == ["signed_up", "signed_in"]
    with pytest.raises(ProgrammingError, match="is refused"):
        connection.execute(account_events.update().where(owner == new_id).values({owner.name: new_id}))


def test_role_with_select_and_insert_only(api: Api, runtime: Runtime, connection: Connection) -> None:
    """SELECT and INSERT on the audit tables are all that the service needs, also to change the id of a user."""
    user = api.sign_up_user()
    role = f"audit_{uuid4().hex}"
    for statement in (
        f"CREATE ROLE {role}",
        f"GRANT SELECT, INSERT ON account_events, promo_changes TO {role}",
        f"GRANT SELECT, INSERT, UPDATE ON users TO {role}",
        f"SET LOCAL ROLE {role}",
    ):
        connection.exec_driver_sql(statement)
    claims = runtime.tokens.read(user.token, "user")
    connection.execute(account_events.insert(), {"user_id": claims.account_id, "event": "signed_out"})
    moved = users.update().where(users.c.id == claims.account_id).values(id=uuid4())
    assert connection.execute(moved).rowcount == 1
    assert _events(connection, user) == ["signed_up", "signed_out"]
    with pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(account_events.delete())
