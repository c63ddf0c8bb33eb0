"""Account events: what the audit log records of an account, and that no statement changes it."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, TextClause, select, text
from sqlalchemy.exc import ProgrammingError

from persistence.accounts.deletion import close_account_by_operator
from persistence.accounts.events import insert_earlier_events
from persistence.schema.audit_tables import account_log
from persistence.schema.tables import companies, users
from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api

_NEW_PASSWORD = "N3w&Better"
_ACCOUNTS = {"business": companies, "user": users}


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
    query = select(account_log.c.event, account_log.c.members).join(table, table.c.id == account_log.c.account_id)
    rows = connection.execute(query.where(table.c.email == account.body["email"]).order_by(account_log.c.id))
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
    events = account_log.c
    query = select(events.event, events.key_id).where(events.account_id == company.id).order_by(events.id)
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
    of_user = select(account_log).join(users, users.c.id == account_log.c.account_id)
    rows = str(connection.execute(of_user.where(users.c.email == user.body["email"])).all())
    assert "profile_changed" in rows
    assert not [value for value in ("Zebedee", *user.body.values()) if str(value) in rows.replace("avatar_url", "")]


_CHANGES = [
    "UPDATE {table} SET event = 'deleted'",
    "UPDATE {table} SET event = event WHERE false",
    "UPDATE {table} SET {owner} = {owner}",
    "DELETE FROM {table}",
    "TRUNCATE {table}",
    "INSERT INTO {table} SELECT * FROM {table} ON CONFLICT ({key}) DO UPDATE SET event = 'deleted'",
]
_REFUSED = r"of \w+ is refused: "
# An event as processes of the version before insert it.
_EARLIER = text("INSERT INTO account_events (company_id, user_id, event) VALUES (:company, :user, 'signed_out')")


@pytest.mark.parametrize("change", _CHANGES)
@pytest.mark.parametrize(
    ("table", "owner", "key"),
    [
        ("promo_changes", "company_id", "promo_id, number"),
        ("account_log", "account_id", "account_id, id"),
        ("account_events", "company_id", "id"),
    ],
)
def test_entries_stay(api: Api, connection: Connection, table: str, owner: str, key: str, change: str) -> None:
    """No statement changes or deletes an entry, even if the owner of the tables runs it."""
    company = api.sign_up_company()
    company.create_promo()
    if table == "account_events":
        connection.execute(_EARLIER, {"company": company.id, "user": None})
    statement = change.format(table=table, owner=owner, key=key)
    if statement.startswith("INSERT INTO account_events"):
        statement = statement.replace("SELECT", "OVERRIDING SYSTEM VALUE SELECT")
    with pytest.raises(ProgrammingError, match=_REFUSED):
        connection.execute(text(statement))


def test_log_of_an_open_account(api: Api, connection: Connection) -> None:
    """The events of an account that exists cannot be deleted, even if a deletion of it is recorded."""
    for account in (api.sign_up_user(), api.sign_up_company()):
        table = users if account.body.get("surname") else companies
        account_id = connection.scalar(select(table.c.id).where(table.c.email == account.email))
        connection.execute(text("INSERT INTO account_deletions (user_id) VALUES (:id)"), {"id": account_id})
        for statement in (account_log.delete().where(account_log.c.account_id == account_id), _hand_over(account_id)):
            with pytest.raises(ProgrammingError, match=_REFUSED), connection.begin_nested():
                connection.execute(statement)


def _hand_over(account_id: Any) -> TextClause:
    return text("SELECT hand_over_account_log(:id, 10)").bindparams(id=account_id)


def test_log_of_a_deleted_user(api: Api, connection: Connection) -> None:
    """The events of a deleted user get another account id, in order and with their times, and stay from then on."""
    user = api.sign_up_user()
    _sign_in(user, "user")
    user_id = connection.scalar(select(users.c.id).where(users.c.email == user.email))
    columns = account_log.c.event, account_log.c.id, account_log.c.happened_at
    of_user = select(*columns).where(account_log.c.account_id == user_id).order_by(account_log.c.id)
    before = connection.execute(of_user).all()
    assert connection.scalar(_hand_over(user_id)) == 0, "it is open"
    assert close_account_by_operator(connection, user_id, user.email)
    assert [connection.scalar(_hand_over(user_id)) for _ in range(2)] == [3, 0]
    assert connection.execute(of_user).all() == []
    new_id = connection.scalar(text("SELECT log_id FROM account_deletions WHERE user_id = :id"), {"id": user_id})
    after = connection.execute(select(*columns).where(account_log.c.account_id == new_id).order_by(account_log.c.id))
    rows = after.all()
    assert (rows[:2], rows[2].event) == (before, "closed")
    with pytest.raises(ProgrammingError, match=_REFUSED):
        connection.execute(account_log.delete().where(account_log.c.account_id == new_id))


def test_events_of_the_version_before(api: Api, runtime: Runtime, connection: Connection) -> None:
    """Events that processes of the version before write are read at once, and move into the new table, in order."""
    user, company = api.sign_up_user(), api.sign_up_company()
    claims = runtime.tokens.read(user.token, "user")
    with runtime.database.autocommit() as earlier:
        for owner in ({"company": company.id, "user": None}, {"company": None, "user": claims.account_id}):
            for _ in range(2):
                earlier.execute(_EARLIER, owner)
    _sign_in(user, "user")
    user.token = user.api.call(
        "POST", "/user/auth/sign-in", json={n: user.body[n] for n in ("email", "password")}
    ).json()["token"]
    expected = ["signed_up", "signed_out", "signed_out", "signed_in", "signed_in"]
    exported = user.get("/user/export").json()["events"]
    assert [event["event"] for event in exported] == expected
    with runtime.database.autocommit() as earlier:
        while insert_earlier_events(earlier, limit=3):
            pass
        assert earlier.scalar(text("SELECT count(*) FROM account_events")) == 0
    assert user.get("/user/export").json()["events"] == exported
    assert _events(connection, user) == expected
    assert _events(connection, company, "business") == expected[:3]


def test_role_with_select_and_insert_only(api: Api, connection: Connection) -> None:
    """SELECT and INSERT on the audit tables are all that the service needs, also to hand over events."""
    user = api.sign_up_user()
    role = f"audit_{uuid4().hex}"
    user_id = connection.scalar(select(users.c.id).where(users.c.email == user.email))
    connection.execute(_EARLIER, {"company": None, "user": user_id})
    for statement in (
        f"CREATE ROLE {role}",
        f"GRANT SELECT, INSERT ON account_log, account_events, promo_changes TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON users, addresses, account_deletions, password_resets TO {role}",
        f"SET LOCAL ROLE {role}",
    ):
        connection.exec_driver_sql(statement)
    assert close_account_by_operator(connection, user_id, user.email)
    assert connection.scalar(text("SELECT move_account_events(10, :id)"), {"id": user_id}) == 1
    assert connection.scalar(_hand_over(user_id)) == 3
    with pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(account_log.delete())
