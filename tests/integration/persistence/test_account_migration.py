"""Migration 0024: addresses, names and events of accounts, while processes of the version before still write."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from persistence.accounts import deletion
from persistence.accounts.credentials import COMPANY_ACCOUNTS, USER_ACCOUNTS, Accounts
from persistence.accounts.events import insert_earlier_events
from persistence.accounts.exports import list_own_events
from persistence.accounts.users import find_user
from persistence.database.engine import Database
from persistence.migrations import update_schema
from promo_api import stored_counts
from promo_api.config.settings import Settings
from promo_api.sweeper import account_deletions_sweeper
from tests.deployment_page import block
from tests.integration.persistence.test_migrations import _migrate

Open = Callable[..., Database]
_ONE, _TWO, _NEW, _COMPANY, _PROMO, _PLACEHOLDER = (UUID(int=number) for number in range(1, 7))
# As processes of the version before send them.
_SIGN_UP_USER = text("""
    WITH changed AS (
        INSERT INTO users (id, email, email_key, name, surname, age, country, country_key, password_hash)
        VALUES (:id, :email, :email, 'Ann', 'Lee', 30, 'ru', 'ru', 'hash')
        ON CONFLICT (email_key) DO NOTHING RETURNING users.id, users.token_version
    ), signed_up AS (INSERT INTO account_events (user_id, event) SELECT changed.id, 'signed_up' FROM changed)
    SELECT changed.token_version FROM changed
""")
_SIGN_UP_COMPANY = text("""
    WITH changed AS (
        INSERT INTO companies (id, email, email_key, name, password_hash)
        VALUES (:id, :email, :email, 'Company', 'hash')
        ON CONFLICT (email_key) DO NOTHING RETURNING companies.id, companies.token_version
    ), signed_up AS (INSERT INTO account_events (company_id, event) SELECT changed.id, 'signed_up' FROM changed)
    SELECT changed.token_version FROM changed
""")
_CLOSE_USER = text("""
    WITH account AS (
        UPDATE users SET token_version = 0, name = NULL, surname = NULL, email = NULL, avatar_url = NULL,
            country = NULL, country_key = NULL, email_key = NULL, age = NULL, password_hash = NULL, created_at = NULL
        WHERE id = :id AND password_hash = 'hash' RETURNING users.id
    ), placeholder AS (INSERT INTO users (id, created_at) SELECT :placeholder, NULL FROM account),
    deletion AS (INSERT INTO account_deletions (user_id, placeholder_id) SELECT account.id, :placeholder FROM account),
    deleted AS (INSERT INTO account_events (user_id, event) SELECT account.id, 'deleted' FROM account)
    SELECT account.id FROM account
""")
_END_DELETION = (
    text("DELETE FROM account_deletions WHERE user_id = :id"),
    text("UPDATE users SET id = gen_random_uuid() WHERE id = :id"),
)
_CLOSE_COMPANY = text("UPDATE companies SET password_hash = NULL, token_version = 0 WHERE id = :id")
_DELETE_EMAIL = text("UPDATE companies SET email = NULL, email_key = NULL WHERE id = :id AND password_hash IS NULL")
_RENAME = text("UPDATE companies SET name = :name WHERE id = :id")
_ACTIVITY = (
    text(
        "INSERT INTO promos (id, company_id, mode, description, category_keys, promo_common)"
        " VALUES (:promo, :company, 'COMMON', 'A promo', '{}', 'value')"
    ),
    text(
        "INSERT INTO promo_counters (promo_id, use_limit, used_count, like_count, comment_count)"
        " VALUES (:promo, 5, 1, 1, 1)"
    ),
    text(
        "INSERT INTO activations (promo_id, user_id, id, country_key) VALUES (:promo, :user, gen_random_uuid(), 'ru')"
    ),
    text("INSERT INTO country_uses (promo_id, country_key, activations_count) VALUES (:promo, 'ru', 1)"),
    text("INSERT INTO user_uses (user_id, activations_count) VALUES (:user, 1)"),
    text("INSERT INTO likes (promo_id, user_id) VALUES (:promo, :user)"),
    text("INSERT INTO comments (promo_id, id, author_id, text) VALUES (:promo, gen_random_uuid(), :user, 'A comment')"),
    text("INSERT INTO company_promo_counts (company_id, country_key, promos_count) VALUES (:company, '', 1)"),
)


def _run(database: Database, statement: Any, **values: Any) -> Any:
    with database.engine.begin() as connection:
        return connection.execute(statement, values)


def _fill(database: Database) -> None:
    """Insert two users and a company, with activity of the first user."""
    for user_id, email in ((_ONE, "one"), (_TWO, "two")):
        _run(database, _SIGN_UP_USER, id=user_id, email=email)
    _run(database, _SIGN_UP_COMPANY, id=_COMPANY, email="one")
    for statement in _ACTIVITY:
        _run(database, statement, promo=_PROMO, company=_COMPANY, user=_ONE)


def _mismatches(database: Database) -> dict[str, int]:
    with database.autocommit() as connection:
        counts = {name: count(connection) for name, count in stored_counts.COUNTS.items()}
    return {name: count for name, count in counts.items() if count and "feed" not in name}


def _addresses(database: Database) -> set[tuple[str, str, UUID]]:
    return {tuple(row) for row in _run(database, text("SELECT email_key, kind, account_id FROM addresses"))}


def _events(database: Database, account_id: UUID) -> list[str]:
    with database.autocommit() as connection:
        return [event.event for event in list_own_events(connection, account_id, limit=10, offset=0)]


def _traces(database: Database, user_id: UUID) -> list[str]:
    """Return the tables with a row that contains the id."""
    tables = _run(database, text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
    found = "SELECT EXISTS (SELECT FROM {0} WHERE {0}::text LIKE '%{1}%')"
    return [table for table in tables if _run(database, text(found.format(table, user_id))).scalar_one()]


@pytest.fixture
def migrated(open_database: Open, empty: Settings) -> Database:
    """A database that was filled before the migration."""
    database = open_database(empty)
    _migrate(database, "0023")
    _fill(database)
    update_schema(database.engine)
    return database


def test_existing_accounts(migrated: Database) -> None:
    """The migration stores the addresses and names of existing accounts."""
    assert _addresses(migrated) == {("one", "user", _ONE), ("two", "user", _TWO), ("one", "company", _COMPANY)}
    assert _mismatches(migrated) == {}
    with migrated.autocommit() as connection:
        for accounts, account_id in ((USER_ACCOUNTS, _ONE), (COMPANY_ACCOUNTS, _COMPANY)):
            credentials = accounts.find_credentials_by_email(connection, "ONE")
            assert credentials is not None
            assert credentials.account_id == account_id


def test_table_created_beforehand(open_database: Open, empty: Settings) -> None:
    """The statements of docs/deployment.md create and fill the tables before the migration, while requests go on."""
    database = open_database(empty)
    _migrate(database, "0023")
    _fill(database)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(block("sql accounts"), execution_options={"no_parameters": True})
    assert _addresses(database) == {("one", "user", _ONE), ("two", "user", _TWO), ("one", "company", _COMPANY)}
    assert _run(database, _SIGN_UP_USER, id=_NEW, email="one").all() == []
    assert _run(database, _SIGN_UP_USER, id=_NEW, email="new").all() == [(1,)]
    _run(database, _CLOSE_USER, id=_TWO, placeholder=_PLACEHOLDER)
    update_schema(database.engine)
    assert _addresses(database) == {("one", "user", _ONE), ("new", "user", _NEW), ("one", "company", _COMPANY)}
    assert _mismatches(database) == {}


def test_sign_ups_of_the_version_before(migrated: Database) -> None:
    """Sign-ups of both versions take and refuse the same addresses."""
    assert _run(migrated, _SIGN_UP_USER, id=_NEW, email="one").all() == []
    assert _run(migrated, _SIGN_UP_USER, id=_NEW, email="new").all() == [(1,)]
    assert _run(migrated, _SIGN_UP_COMPANY, id=_TWO, email="new").all() == [(1,)]
    values = {"name": "Ann", "surname": "Lee", "avatar_url": None, "age": 30, "country": "ru", "country_key": "ru"}
    with migrated.autocommit() as connection:
        for email, version in (("new", None), ("other", 1)):
            person = {**values, "email": email, "password_hash": "hash"}
            assert USER_ACCOUNTS.insert_account(connection, uuid4(), person) == version
    assert _run(migrated, _SIGN_UP_USER, id=uuid4(), email="other").all() == []
    assert _mismatches(migrated) == {}
    assert _events(migrated, _NEW) == ["signed_up"]


@pytest.mark.parametrize(
    ("accounts", "earlier"), [(USER_ACCOUNTS, _SIGN_UP_USER), (COMPANY_ACCOUNTS, _SIGN_UP_COMPANY)]
)
def test_simultaneous_sign_ups(migrated: Database, accounts: Accounts, earlier: Any) -> None:
    """Of simultaneous sign-ups of both versions with one address, one succeeds, and none fails."""
    values = {"name": "Ann", "surname": "Lee", "avatar_url": None, "age": 30, "country": "ru", "country_key": "ru"}

    def sign_up(email: str, number: int) -> Any:
        with migrated.autocommit() as connection:
            if number % 2:
                return connection.execute(earlier, {"id": uuid4(), "email": email}).scalar_one_or_none()
            person = {**values, "email": email, "password_hash": "hash"}
            return accounts.insert_account(connection, uuid4(), person)

    with ThreadPoolExecutor(4) as threads:
        for round_ in range(40):
            versions = list(threads.map(lambda number, email=f"race {round_}": sign_up(email, number), range(4)))
            assert sorted(versions, key=str) == [1, None, None, None]
    assert _mismatches(migrated) == {}


def test_companies_of_the_version_before(migrated: Database) -> None:
    """Names and addresses stay exact when processes of the version before rename and close a company."""
    _run(migrated, _RENAME, id=_COMPANY, name="Renamed")
    assert _mismatches(migrated) == {}
    _run(migrated, _CLOSE_COMPANY, id=_COMPANY)
    assert ("one", "company", _COMPANY) in _addresses(migrated)
    _run(migrated, _DELETE_EMAIL, id=_COMPANY)
    assert ("one", "company", _COMPANY) not in _addresses(migrated)
    assert _mismatches(migrated) == {}


def test_deletion_of_the_version_before(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that a process of the version before closes is deleted by the new ones, and by those only."""
    _run(migrated, _CLOSE_USER, id=_ONE, placeholder=_PLACEHOLDER)
    assert _mismatches(migrated) == {}
    for statement in _END_DELETION:
        _run(migrated, statement, id=_ONE)
    forgotten: list[UUID] = []
    job = account_deletions_sweeper(migrated, forgotten.append)
    monkeypatch.setattr(deletion, "LATE_MAX", timedelta(0))
    while not forgotten:
        job.sweep()
    assert forgotten == [_ONE]
    assert _traces(migrated, _ONE) == []
    assert _mismatches(migrated) == {}


def test_downgrade(migrated: Database) -> None:
    """A downgrade moves the events back, and processes of the version before find a row of each deleted user."""
    with migrated.autocommit() as connection:
        assert insert_earlier_events(connection, limit=2) == 2
        user = find_user(connection, _ONE)
        assert user is not None
        assert deletion.close_account(connection, _ONE, user.email, checked_hash="hash")
        while deletion.delete_account_portion(connection, _ONE):
            pass
    _migrate(migrated, "0023", down=True)
    counts = text("SELECT event, company_id IS NULL, count(*) FROM account_events GROUP BY 1, 2 ORDER BY 1, 2")
    assert _run(migrated, counts).all() == [("deleted", True, 1), ("signed_up", False, 1), ("signed_up", True, 2)]
    empty = text("SELECT count(*) FROM users WHERE email IS NULL")
    # The deletion with its placeholder, the owners of an activation, a like and a comment, and that of the events.
    assert _run(migrated, empty).scalar_one() == 6
    with pytest.raises(Exception, match="violates foreign key"):
        _run(migrated, text("UPDATE likes SET user_id = gen_random_uuid()"))
    update_schema(migrated.engine)
    assert _mismatches(migrated) == {}
