"""Checks of the tables that find accounts and keys, and of the names of companies. Each reads whole tables."""

from typing import Any

from sqlalchemy import Connection, Select, and_, func, literal_column, or_, select, union_all

from persistence.database.statements import Statement
from persistence.schema.key_tables import api_key_digests, api_keys
from persistence.schema.tables import addresses, companies, company_names, users


def count_mismatched_addresses(connection: Connection) -> int:
    """Count accounts whose e-mail address is missing or of another account, and addresses of no account."""
    selects = []
    for table, kind in ((companies, "company"), (users, "user")):
        row = select(table.c.email_key, literal_column(f"'{kind}'").label("kind"), table.c.id)
        selects.append(row.where(table.c.email_key.is_not(None)))
    accounts = union_all(*selects).subquery("accounts")
    same = and_(*(addresses.c[name] == accounts.c[name] for name in ("email_key", "kind")))
    pairs = select(func.count()).select_from(addresses.join(accounts, same, full=True))
    return _value(connection, pairs.where(addresses.c.account_id.is_distinct_from(accounts.c.id)))


def count_mismatched_names(connection: Connection) -> int:
    """Count companies with another name in company_names, or none."""
    names = companies.outerjoin(company_names, company_names.c.company_id == companies.c.id)
    differ = company_names.c.name.is_distinct_from(companies.c.name)
    return _value(connection, select(func.count()).select_from(names).where(differ))


def count_mismatched_keys(connection: Connection) -> int:
    """Count API keys without the entry that finds them by their digest, and entries without a key."""
    # Materialized, because Citus joins tables of different keys only if it has read them before.
    keys, digests = (
        select(table.c.digest, table.c.company_id, table.c.id).cte(name).prefix_with("MATERIALIZED")
        for table, name in ((api_keys, "keys"), (api_key_digests, "digests"))
    )
    same = and_(*(keys.c[name] == digests.c[name] for name in ("digest", "company_id", "id")))
    is_alone = or_(keys.c.id.is_(None), digests.c.id.is_(None))
    pairs = keys.join(digests, same, full=True)
    return _value(connection, select(func.count()).select_from(pairs).where(is_alone))


def _value(connection: Connection, statement: Select[Any]) -> int:
    return int(Statement(statement).value(connection, {}))
