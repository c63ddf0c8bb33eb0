"""The names of companies that cards show, as parts of statements."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, FromClause, insert, select, update

from persistence.schema.tables import company_names


def insert_name(company: FromClause, name: ColumnElement[Any]) -> CTE:
    """Store the name of each new company."""
    return insert(company_names).from_select(["company_id", "name"], select(company.c.id, name)).cte("named")


def update_name(company: FromClause) -> CTE:
    """Store the name of each changed company, if it is another one."""
    is_renamed = (company_names.c.company_id == company.c.id, company_names.c.name != company.c.name)
    return update(company_names).where(*is_renamed).values(name=company.c.name).cte("renamed")
