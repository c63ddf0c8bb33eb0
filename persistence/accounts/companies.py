"""The company that sent a request."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from persistence.database.statements import Statement
from persistence.schema.tables import companies


@dataclass(frozen=True)
class Company:
    """A company."""

    id: UUID
    name: str
    token_version: int


_COLUMNS = [companies.c[name] for name in Company.__dataclass_fields__]
_FIND = Statement(select(*_COLUMNS).where(companies.c.id == bindparam("id")))


def find_company(connection: Connection, company_id: UUID) -> Company | None:
    """Return the company; None if it does not exist."""
    row = _FIND.row(connection, {"id": company_id})
    return None if row is None else Company(*row)
