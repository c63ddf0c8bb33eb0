"""The command `distribute` without a cluster, and the tables that it distributes."""

import pytest

from persistence.distribution import TABLES
from persistence.schema.tables import metadata
from promo_api.distribute import distribute
from promo_api.runtime import Runtime


def test_database_without_citus(runtime: Runtime, capsys: pytest.CaptureFixture[str]) -> None:
    """On plain PostgreSQL the command changes nothing, and says what is missing."""
    assert distribute(runtime.settings) == 1
    assert capsys.readouterr() == (
        "",
        "Nothing was changed. The database has no extension citus. Run CREATE EXTENSION citus on each server first.\n",
    )


def test_each_table_is_distributed() -> None:
    """Each table has a place on several servers, except one of earlier versions, and one that is counted when read."""
    assert sorted(TABLES) == sorted({*metadata.tables, "alembic_version"} - {"account_events", "user_uses"})
