"""deploy/grants.sql fits the tables."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Table

from persistence.schema.audit_tables import account_events, account_log, promo_changes

_GRANTS = (Path(__file__).parents[2] / "deploy" / "grants.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", [promo_changes, account_events, account_log], ids=str)
def test_columns_of_the_audit_tables(table: Table) -> None:
    """The service can insert exactly the columns that PostgreSQL does not fill, so it cannot backdate an entry."""
    granted = re.search(rf'^ *GRANT INSERT \((.*)\) ON {table.name} TO :"service";$', _GRANTS, re.MULTILINE)
    assert granted is not None
    filled = {column.name for column in table.c if column.server_default is not None or column.identity is not None}
    assert filled & {"changed_at", "happened_at"}
    assert set(granted[1].split(", ")) == {column.name for column in table.c} - filled
