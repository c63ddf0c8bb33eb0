"""Sessions: what is set on each connection, and how long one may keep others waiting."""

from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, select, text

from persistence.engine import Database
from persistence.likes import insert_like
from persistence.tables import promo_counters
from persistence.users import find_user
from promo_api.errors import DependencyDown
from promo_api.sandbox.processes import wait_until
from tests.accounts import Api

Open = Callable[..., Database]
_SET = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone"]


def _setting(connection: Connection, name: str) -> str:
    return str(connection.execute(text("SELECT current_setting(:name)"), {"name": name}).scalar_one())


@pytest.mark.parametrize("mode", ["autocommit", "transaction"])
def test_settings_of_a_session(open_database: Open, mode: str) -> None:
    """A connection has the time limits of the settings, UTC, and READ COMMITTED."""
    database = open_database(
        postgres_statement_timeout_s=4.5, postgres_lock_timeout_s=1.25, postgres_idle_transaction_timeout_s=7.0
    )
    with getattr(database, mode)() as connection:
        assert _setting(connection, "statement_timeout") == "4500ms"
        assert _setting(connection, "lock_timeout") == "1250ms"
        assert _setting(connection, "idle_in_transaction_session_timeout") == "7s"
        assert _setting(connection, "timezone") == "UTC"
        assert _setting(connection, "transaction_isolation") == "read committed"
        assert _setting(connection, "application_name") == "promo-api"


def test_session_of_a_pooler(open_database: Open) -> None:
    """A session that a pooler lends is left as it was found: nothing is set for it, and no statement stays in it."""
    database = open_database(postgres_transaction_pooling=True)
    given = text("SELECT name FROM pg_settings WHERE name = ANY(:names) AND source = 'client'")
    with database.transaction() as connection:
        for _ in range(10):
            assert find_user(connection, uuid4()) is None
        assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one() == 0
        assert connection.execute(given, {"names": _SET}).all() == []


def test_autocommit_holds_no_transaction(open_database: Open) -> None:
    """What is done in autocommit is seen by others at once; what is done in a transaction at its end."""
    database = open_database()
    name = "promo_persistence_seen"
    with database.autocommit() as writer, database.autocommit() as reader:
        writer.execute(text(f"CREATE TABLE {name} (number integer)"))
        assert reader.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() == 0  # noqa: S608 a constant
        with database.transaction() as doubter:
            doubter.execute(text(f"DROP TABLE {name}"))
            doubter.rollback()
        writer.execute(text(f"DROP TABLE {name}"))
        assert reader.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar_one() is None


def test_transaction_is_rolled_back(open_database: Open) -> None:
    """Whatever exception ends a transaction, nothing of it is kept."""
    database = open_database()

    def fail() -> None:
        with database.transaction() as connection:
            connection.execute(text("CREATE TABLE promo_persistence_undone (number integer)"))
            raise KeyError("any")

    with pytest.raises(KeyError):
        fail()
    with database.autocommit() as connection:
        assert connection.execute(text("SELECT to_regclass('promo_persistence_undone')")).scalar_one() is None


def test_pool_that_is_exhausted(open_database: Open) -> None:
    """Who finds no free connection within the pool's time limit is told so, and not kept waiting."""
    database = open_database(postgres_pool_size=2, postgres_pool_timeout_s=0.2)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(database.autocommit())
        began = monotonic()
        with pytest.raises(DependencyDown, match="busy"), database.autocommit():
            pytest.fail("there was no third connection to give")
        assert 0.2 <= monotonic() - began < 2
    with database.autocommit() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_pool_is_as_large_as_the_threads(open_database: Open) -> None:
    """Unless it is set, a worker has a connection for each of its threads, and none more."""
    database = open_database(server_threads=1, antifraud_threads=2, postgres_pool_timeout_s=0.1)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(database.autocommit())
        with pytest.raises(DependencyDown), database.autocommit():
            pytest.fail("there was a fourth connection")


@pytest.mark.parametrize("mode", ["autocommit", "transaction"])
def test_statement_that_takes_too_long(open_database: Open, mode: str) -> None:
    """A statement that runs longer than its limit is ended, and its connection can be used again."""
    database = open_database(postgres_statement_timeout_s=0.1, postgres_pool_size=1)

    def linger() -> None:
        with getattr(database, mode)() as connection:
            connection.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(DependencyDown):
        linger()
    with getattr(database, mode)() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_row_that_is_locked_too_long(open_database: Open, api: Api) -> None:
    """Who waits for a row longer than its limit is told so; the row stays as it was."""
    promo_id = UUID(api.sign_up_company().create_promo())
    database = open_database(postgres_lock_timeout_s=0.1)
    row = select(promo_counters).where(promo_counters.c.promo_id == promo_id)

    def like() -> None:
        with database.autocommit() as connection:
            insert_like(connection, promo_id, promo_id)

    with database.transaction() as holder:
        before = holder.execute(row.with_for_update()).one()
        with pytest.raises(DependencyDown):
            like()
    with database.autocommit() as connection:
        assert connection.execute(row).one() == before


def test_transaction_that_does_nothing(open_database: Open) -> None:
    """PostgreSQL ends a transaction that holds its locks and does nothing; whoever comes back to it is told."""
    database = open_database(postgres_idle_transaction_timeout_s=0.1)
    there = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")

    def come_back_late() -> None:
        with database.transaction() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with database.autocommit() as other:
                assert wait_until(lambda: other.execute(there, {"pid": pid}).scalar_one() == 0, 10)
            connection.execute(text("SELECT 1"))

    with pytest.raises(DependencyDown):
        come_back_late()
    with database.transaction() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
