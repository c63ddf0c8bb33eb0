"""Comments on promos."""

from typing import Any
from uuid import UUID, uuid4

from handlers import Body
from handlers.idempotency import Response, connect, idempotent, store_responses
from handlers.pages import PageRequest, paged, serialize_page
from handlers.replica_reads import reads_replica
from handlers.serializers import serialize_comment
from handlers.versions import Versions, check_version, read_if_match, versioned
from persistence.accounts.users import User
from persistence.comment_reports import insert_report
from persistence.comments import (
    Comment,
    delete_comment as delete_own_comment,
    find_comment,
    insert_comment,
    list_comments as list_promo_comments,
    update_comment as update_own_comment,
)
from persistence.idempotency import IdempotencyKey
from persistence.pages import Page
from promo_api.errors import CommentRefused, NotFound, NotOwner, PreconditionFailed
from promo_api.runtime import Runtime
from promo_api.security.rate_limits import COMMENTS, REPORTS
from promo_api.specification import COMMENT_MEMBERS


@versioned(COMMENT_MEMBERS)
@idempotent
def create_comment(runtime: Runtime, user: User, *, id: UUID, body: Body, key: IdempotencyKey | None) -> Response:
    """Comment on a promo."""
    runtime.rate_limits.count_for(COMMENTS, user.id)
    comment_id = uuid4()
    with connect(runtime, key) as connection:
        written = insert_comment(
            connection, id, comment_id=comment_id, author_id=user.id, country_key=user.country_key, text=body["text"]
        )
        if written is None:
            raise NotFound.promo()
        if written.written_at is None:
            raise CommentRefused.disabled()
        comment = Comment(
            comment_id, body["text"], written.written_at, user.id, 0, user.name, user.surname, user.avatar_url
        )
        response = serialize_comment(comment), 201
        store_responses(connection, [(key, response)])
    return response


@paged
@reads_replica
def list_comments(_runtime: Runtime, _user: User, *, id: UUID, page: PageRequest, connection: Any) -> Page[Body]:
    """List the comments on a promo, newest first."""
    comments = list_promo_comments(connection, id, **vars(page))
    if comments is None:
        raise NotFound.promo()
    return serialize_page(comments, serialize_comment)


@versioned(COMMENT_MEMBERS)
@reads_replica
def get_comment(_runtime: Runtime, _user: User, *, id: UUID, comment_id: UUID, connection: Any) -> Body:
    """Return a comment."""
    return serialize_comment(_find_comment(connection, id, comment_id))


@versioned(COMMENT_MEMBERS)
def update_comment(
    runtime: Runtime, user: User, *, id: UUID, comment_id: UUID, body: Body, if_match: str | None = None
) -> Body:
    """Change the text of a comment."""
    old_text = _find_own_text(runtime, user, id, comment_id, read_if_match(if_match))
    with runtime.database.autocommit() as connection:
        written = update_own_comment(
            connection, id, comment_id=comment_id, author_id=user.id, text=body["text"], old_text=old_text
        )
        changed_comment = _find_comment(connection, id, comment_id)
    # Again: if the account was deleted meanwhile, the comment was not changed.
    _check_author(changed_comment, user)
    if written is not None and not written.comments_enabled:
        raise CommentRefused.disabled()
    if written is None or written.written_at is None:
        raise PreconditionFailed.changed()
    return serialize_comment(changed_comment)


def delete_comment(runtime: Runtime, user: User, *, id: UUID, comment_id: UUID, if_match: str | None = None) -> Body:
    """Delete a comment."""
    old_text = _find_own_text(runtime, user, id, comment_id, read_if_match(if_match))
    with runtime.database.autocommit() as connection:
        if delete_own_comment(connection, id, comment_id=comment_id, author_id=user.id, old_text=old_text):
            return {"status": "ok"}
        if old_text is not None and find_comment(connection, id, comment_id) is not None:
            raise PreconditionFailed.changed()
    raise NotFound.comment()


def report_comment(runtime: Runtime, user: User, *, id: UUID, comment_id: UUID, body: Body) -> Body:
    """Report a comment of another user."""
    runtime.rate_limits.count_for(REPORTS, user.id)
    with runtime.database.autocommit() as connection:
        author_id = insert_report(connection, id, comment_id, user_id=user.id, reason=body["reason"])
    if author_id is None:
        raise NotFound.comment()
    if author_id == user.id:
        raise CommentRefused.own()
    return {"status": "ok"}


def _find_own_text(runtime: Runtime, user: User, promo_id: UUID, comment_id: UUID, versions: Versions) -> str | None:
    """Check author and version of a comment; return the text that it must still have, None: any."""
    with runtime.database.autocommit() as connection:
        comment = _find_comment(connection, promo_id, comment_id)
    _check_author(comment, user)
    check_version(versions, serialize_comment(comment), COMMENT_MEMBERS)
    return None if versions is None else comment.text


def _find_comment(connection: Any, promo_id: UUID, comment_id: UUID) -> Comment:
    comment = find_comment(connection, promo_id, comment_id)
    if comment is None:
        raise NotFound.comment()
    return comment


def _check_author(comment: Comment, user: User) -> None:
    if comment.author_id != user.id:
        raise NotOwner("This comment belongs to another user.")
