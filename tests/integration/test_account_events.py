"""What is recorded of accounts: by the statement that does it, in words, and never to be changed."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import ProgrammingError

from persistence.tables import companies, users
from persistence.trail_tables import account_events
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
    """Return the events of an account, oldest first, each as the word or, with members, as the word and these."""
    table = _ACCOUNTS[kind]
    found = select(account_events.c.event, account_events.c.members).join(table, table.c.id == _OWNERS[kind])
    rows = connection.execute(found.where(table.c.email == account.body["email"]).order_by(account_events.c.id))
    return [event if members is None else (event, sorted(members)) for event, members in rows]


@pytest.mark.parametrize("kind", ["business", "user"])
def test_sign_up_and_sign_in(api: Api, connection: Connection, kind: str) -> None:
    """A sign-up and each sign-in that succeeds is an event; a sign-in that fails is none, nor a sign-up."""
    account = _sign_up(api, kind)
    assert [_sign_in(account, kind), _sign_in(account, kind, "Wr0ng&wrong"), _sign_in(account, kind)] == [200, 401, 200]
    assert api.call("POST", f"/{kind}/auth/sign-up", json=account.body).status_code == 409
    assert _events(connection, account, kind) == ["signed_up", "signed_in", "signed_in"]


def test_profile(api: Api, connection: Connection) -> None:
    """A change of the profile is told by the names of what really changed; a new password by a word of its own."""
    user = api.sign_up_user()
    for changes in (
        {"name": "Beth", "surname": user.body["surname"]},
        {"name": "Beth", "avatar_url": None},
        {},
        {"surname": "Moore", "avatar_url": "https://example.com/b.png", "password": _NEW_PASSWORD},
        {"name": "Beth", "password": _NEW_PASSWORD},
    ):
        assert user.patch("/user/profile", json=changes).status_code == 200
    told = _events(connection, user)
    assert told[:2] == ["signed_up", ("profile_changed", ["name"])]
    # Two events of one statement have no order.
    assert {str(event) for event in told[2:4]} == {"password_changed", "('profile_changed', ['avatar_url', 'surname'])"}
    assert told[4:] == ["password_changed"]


def test_nothing_personal(api: Api, connection: Connection) -> None:
    """No event has a value of the account."""
    user = api.sign_up_user()
    user.patch("/user/profile", json={"name": "Zebedee", "password": _NEW_PASSWORD})
    of_user = select(account_events).join(users, users.c.id == account_events.c.user_id)
    told = str(connection.execute(of_user.where(users.c.email == user.body["email"])).all())
    assert "profile_changed" in told
    assert not [value for value in ("Zebedee", *user.body.values()) if str(value) in told.replace("avatar_url", "")]


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
    """No statement changes or deletes an entry, not even one of a role that owns the tables or may do anything."""
    api.sign_up_company().create_promo()
    statement = change.format(table=table, key=key)
    if statement.startswith("INSERT INTO account_events"):
        statement = statement.replace("SELECT", "OVERRIDING SYSTEM VALUE SELECT")
    with pytest.raises(ProgrammingError, match=r"of \w+ is refused: what it tells stays as it is"):
        connection.execute(text(statement))


@pytest.mark.parametrize("kind", ["business", "user"])
def test_events_follow_an_account(api: Api, connection: Connection, kind: str) -> None:
    """Where an account gets another id its events follow it; nobody else can move them."""
    account, new_id = _sign_up(api, kind), uuid4()
    _sign_in(account, kind)
    table, owner = _ACCOUNTS[kind], _OWNERS[kind]
    moved = table.update().where(table.c.email == account.body["email"]).values(id=new_id)
    assert connection.execute(moved).rowcount == 1
    assert _events(connection, account, kind) == ["signed_up", "signed_in"]
    assert connection.scalars(select(account_events.c.event).where(owner == new_id)).all() == ["signed_up", "signed_in"]
    with pytest.raises(ProgrammingError, match="is refused"):
        connection.execute(account_events.update().where(owner == new_id).values({owner.name: new_id}))


def test_role_that_may_only_read_and_insert(api: Api, runtime: Runtime, connection: Connection) -> None:
    """Whoever may SELECT and INSERT in the trail can do all that the service does, and give a user another id."""
    user = api.sign_up_user()
    role = f"trail_{uuid4().hex}"
    for statement in (
        f"CREATE ROLE {role}",
        f"GRANT SELECT, INSERT ON account_events, promo_changes TO {role}",
        f"GRANT SELECT, INSERT, UPDATE ON users TO {role}",
        f"SET LOCAL ROLE {role}",
    ):
        connection.exec_driver_sql(statement)
    claims = runtime.tokens.read(user.token, "user")
    assert claims is not None
    connection.execute(account_events.insert(), {"user_id": claims.account_id, "event": "signed_out"})
    moved = users.update().where(users.c.id == claims.account_id).values(id=uuid4())
    assert connection.execute(moved).rowcount == 1
    assert _events(connection, user) == ["signed_up", "signed_out"]
    with pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(account_events.delete())
