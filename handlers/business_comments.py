"""Moderation: comments on the promos of a company."""

from typing import Any
from uuid import UUID

from handlers import Body
from handlers.pages import PageRequest, Response, paged, serialize_page
from handlers.promo_owners import check_owner, find_own_promo
from handlers.replica_reads import reads_replica
from handlers.serializers import serialize_moderated_comment
from persistence.accounts.companies import Company, claim_company
from persistence.comment_reports import list_reports as list_comment_reports
from persistence.comments import (
    delete_any_comment,
    find_comment,
    list_comments as list_promo_comments,
    list_reported_comments,
)
from persistence.pages import Page
from persistence.promos.changes import insert_comment_removal
from persistence.promos.promos import find_promo_owner
from promo_api.errors import NotFound, Unauthenticated
from promo_api.runtime import Runtime
from promo_api.specification import MAX_PAGE_ENTRIES


@paged
@reads_replica
def list_comments(
    _runtime: Runtime, company: Company, *, id: UUID, page: PageRequest, connection: Any, reported: bool = False
) -> Page[Body]:
    """List the comments on a promo of the company, newest first."""
    list_ = list_reported_comments if reported else list_promo_comments
    check_owner(find_promo_owner(connection, id), company)
    comments = list_(connection, id, **vars(page))
    if comments is None:
        raise NotFound.promo()
    return serialize_page(comments, serialize_moderated_comment)


@reads_replica
def get_comment(_runtime: Runtime, company: Company, *, id: UUID, comment_id: UUID, connection: Any) -> Body:
    """Return a comment on a promo of the company."""
    check_owner(find_promo_owner(connection, id), company)
    comment = find_comment(connection, id, comment_id)
    if comment is None:
        raise NotFound.comment()
    return serialize_moderated_comment(comment)


def delete_comment(runtime: Runtime, company: Company, *, id: UUID, comment_id: UUID) -> Body:
    """Remove a comment on a promo of the company, and record it in the audit log."""
    with runtime.database.transaction() as connection:
        if not claim_company(connection, company.id):
            raise Unauthenticated.account_deleted()
        # The lock numbers the entries of the audit log.
        find_own_promo(connection, id, company, runtime.today(), locked=True)
        if not delete_any_comment(connection, id, comment_id):
            raise NotFound.comment()
        insert_comment_removal(connection, id, company.id, comment_id)
    return {"status": "ok"}


def list_reports(
    runtime: Runtime, company: Company, *, id: UUID, comment_id: UUID, limit: int, offset: int = 0
) -> Response:
    """List the reports of a comment on a promo of the company, newest first. A cursor would reveal their authors."""
    with runtime.database.autocommit() as connection:
        check_owner(find_promo_owner(connection, id), company)
        reports_and_total = list_comment_reports(
            connection, id, comment_id, limit=min(limit, MAX_PAGE_ENTRIES), offset=offset
        )
    if reports_and_total is None:
        raise NotFound.comment()
    reports, total = reports_and_total
    return [vars(report) for report in reports], 200, {"X-Total-Count": str(total)}
