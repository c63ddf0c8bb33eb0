"""Database sessions: their settings, and the time limits of statements, locks, transactions and the pool."""

from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, select, text

from persistence.accounts.users import find_user
from persistence.database.engine import Database
from persistence.database.statements import is_distributed
from persistence.likes import insert_like
from persistence.schema.tables import promo_counters
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.errors import ServiceUnavailable
from tests.accounts import Api

Open = Callable[..., Database]
# The name is all that the service looks at.
_INSTALL_CITUS = """
    INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
    VALUES (1, 'citus', 10, 11, false, '13.2')
"""
_SET = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone", "plan_cache_mode"]


def _setting(connection: Connection, name: str) -> str:
    return str(connection.execute(text("SELECT current_setting(:name)"), {"name": name}).scalar_one())


@pytest.mark.parametrize("mode", ["autocommit", "transaction"])
def test_settings_of_a_session(open_database: Open, mode: str) -> None:
    """A connection has the configured timeouts, UTC, generic plans and READ COMMITTED."""
    database = open_database(
        postgres_statement_timeout_s=4.5, postgres_lock_timeout_s=1.25, postgres_idle_transaction_timeout_s=7.0
    )
    with getattr(database, mode)() as connection:
        assert _setting(connection, "statement_timeout") == "4500ms"
        assert _setting(connection, "lock_timeout") == "1250ms"
        assert _setting(connection, "idle_in_transaction_session_timeout") == "7s"
        assert _setting(connection, "timezone") == "UTC"
        expected = "auto" if is_distributed(connection) else "force_generic_plan"
        assert _setting(connection, "plan_cache_mode") == expected
        assert _setting(connection, "transaction_isolation") == "read committed"
        assert _setting(connection, "application_name") == "promo-api"


def test_session_with_citus(open_database: Open, empty: Settings) -> None:
    """A session of a database with the extension citus has no generic plans, which Citus refuses."""
    database = open_database(empty)
    with database.autocommit() as connection:
        assert not is_distributed(connection)
        connection.execute(text(_INSTALL_CITUS))
    with_citus = open_database(empty)
    with with_citus.transaction() as connection:
        assert is_distributed(connection)
    with with_citus.autocommit() as connection:
        assert _setting(connection, "plan_cache_mode") == "auto"


def test_session_of_a_pooler(open_database: Open) -> None:
    """With transaction pooling the service changes no session setting and leaves no prepared statement."""
    database = open_database(postgres_transaction_pooling=True)
    query = text("SELECT name FROM pg_settings WHERE name = ANY(:names) AND source = 'client'")
    with database.transaction() as connection:
        for _ in range(10):
            assert find_user(connection, uuid4()) is None
        assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one() == 0
        assert connection.execute(query, {"names": _SET}).all() == []


def test_autocommit_holds_no_transaction(open_database: Open) -> None:
    """In autocommit others see a change at once. A transaction that is rolled back changes nothing."""
    database = open_database()
    name = "promo_persistence_visible"
    with database.autocommit() as writer, database.autocommit() as reader:
        writer.execute(text(f"CREATE TABLE {name} (number integer)"))
        assert reader.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() == 0  # noqa: S608 a constant
        with database.transaction() as other:
            other.execute(text(f"DROP TABLE {name}"))
            other.rollback()
        writer.execute(text(f"DROP TABLE {name}"))
        assert reader.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar_one() is None


def test_transaction_is_rolled_back(open_database: Open) -> None:
    """An exception rolls a transaction back."""
    database = open_database()

    def fail() -> None:
        with database.transaction() as connection:
            connection.execute(text("CREATE TABLE promo_persistence_rolled_back (number integer)"))
            raise KeyError("any")

    with pytest.raises(KeyError):
        fail()
    with database.autocommit() as connection:
        assert connection.execute(text("SELECT to_regclass('promo_persistence_rolled_back')")).scalar_one() is None


def test_exhausted_pool(open_database: Open) -> None:
    """If no connection is free within the pool timeout, the request fails with ServiceUnavailable."""
    database = open_database(postgres_pool_size=2, postgres_pool_timeout_s=0.2)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(database.autocommit())
        began = monotonic()
        with pytest.raises(ServiceUnavailable, match="busy"), database.autocommit():
            pytest.fail("there was a third connection")
        assert 0.2 <= monotonic() - began < 2
    with database.autocommit() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_default_pool_size(open_database: Open) -> None:
    """By default the pool has one connection per thread of the worker."""
    database = open_database(server_threads=1, antifraud_threads=2, postgres_pool_timeout_s=0.1)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(database.autocommit())
        with pytest.raises(ServiceUnavailable), database.autocommit():
            pytest.fail("there was a fourth connection")


@pytest.mark.parametrize("mode", ["autocommit", "transaction"])
def test_statement_timeout(open_database: Open, mode: str) -> None:
    """A statement that exceeds its timeout is cancelled. Its connection can be used again."""
    database = open_database(postgres_statement_timeout_s=0.1, postgres_pool_size=1)

    def run_slow_statement() -> None:
        with getattr(database, mode)() as connection:
            connection.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(ServiceUnavailable):
        run_slow_statement()
    with getattr(database, mode)() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_lock_timeout(open_database: Open, api: Api) -> None:
    """A statement that waits too long for a lock fails, and the row is unchanged."""
    promo_id = UUID(api.sign_up_company().create_promo())
    database = open_database(postgres_lock_timeout_s=0.1)
    row = select(promo_counters).where(promo_counters.c.promo_id == promo_id)

    def like() -> None:
        with database.autocommit() as connection:
            insert_like(connection, promo_id, promo_id, "ru")

    with database.transaction() as holder:
        before = holder.execute(row.with_for_update()).one()
        with pytest.raises(ServiceUnavailable):
            like()
    with database.autocommit() as connection:
        assert connection.execute(row).one() == before


def test_idle_transaction_timeout(open_database: Open) -> None:
    """PostgreSQL ends an idle transaction, and its next statement fails with ServiceUnavailable."""
    database = open_database(postgres_idle_transaction_timeout_s=0.1)
    query = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")

    def idle() -> None:
        with database.transaction() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with database.autocommit() as other:
                assert wait_until(lambda: other.execute(query, {"pid": pid}).scalar_one() == 0, 10)
            connection.execute(text("SELECT 1"))

    with pytest.raises(ServiceUnavailable):
        idle()
    with database.transaction() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
