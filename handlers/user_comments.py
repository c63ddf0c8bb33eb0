"""Comments on promos."""

from uuid import UUID, uuid4

from handlers import Body
from handlers.idempotency import Response, connect, idempotent, store_responses
from handlers.serializers import Page, page, page_limit, serialize_comment
from persistence.accounts.users import User
from persistence.comments import (
    Comment,
    delete_comment as delete_own_comment,
    find_comment,
    insert_comment,
    list_comments as list_promo_comments,
    update_comment as update_own_comment,
)
from persistence.idempotency import IdempotencyKey
from promo_api.errors import NotFound, NotOwner
from promo_api.runtime import Runtime
from promo_api.security.rate_limits import COMMENTS


@idempotent
def create_comment(runtime: Runtime, user: User, *, id: UUID, body: Body, key: IdempotencyKey | None) -> Response:
    """Comment on a promo."""
    runtime.rate_limits.count_for(COMMENTS, user.id)
    comment_id = uuid4()
    with connect(runtime, key) as connection:
        created_at = insert_comment(connection, id, comment_id=comment_id, author_id=user.id, text=body["text"])
        if created_at is None:
            raise NotFound.promo()
        comment = Comment(comment_id, body["text"], created_at, user.id, user.name, user.surname, user.avatar_url)
        response = serialize_comment(comment), 201
        store_responses(connection, [(key, response)])
    return response


def list_comments(runtime: Runtime, _user: User, *, id: UUID, limit: int, offset: int) -> Page:
    """List the comments on a promo, newest first."""
    with runtime.database.autocommit() as connection:
        comments_and_total = list_promo_comments(connection, id, limit=page_limit(limit), offset=offset)
    if comments_and_total is None:
        raise NotFound.promo()
    comments, total = comments_and_total
    return page([serialize_comment(comment) for comment in comments], total)


def get_comment(runtime: Runtime, _user: User, *, id: UUID, comment_id: UUID) -> Body:
    """Return a comment."""
    return serialize_comment(_find_comment(runtime, id, comment_id))


def update_comment(runtime: Runtime, user: User, *, id: UUID, comment_id: UUID, body: Body) -> Body:
    """Change the text of a comment."""
    _check_author(_find_comment(runtime, id, comment_id), user)
    with runtime.database.autocommit() as connection:
        update_own_comment(connection, id, comment_id=comment_id, author_id=user.id, text=body["text"])
    changed_comment = _find_comment(runtime, id, comment_id)
    # Again: if the account was deleted meanwhile, the comment was not changed.
    _check_author(changed_comment, user)
    return serialize_comment(changed_comment)


def delete_comment(runtime: Runtime, user: User, *, id: UUID, comment_id: UUID) -> Body:
    """Delete a comment."""
    _check_author(_find_comment(runtime, id, comment_id), user)
    with runtime.database.autocommit() as connection:
        if not delete_own_comment(connection, id, comment_id=comment_id, author_id=user.id):
            raise NotFound.comment()
    return {"status": "ok"}


def _find_comment(runtime: Runtime, promo_id: UUID, comment_id: UUID) -> Comment:
    with runtime.database.autocommit() as connection:
        comment = find_comment(connection, promo_id, comment_id)
    if comment is None:
        raise NotFound.comment()
    return comment


def _check_author(comment: Comment, user: User) -> None:
    if comment.author_id != user.id:
        raise NotOwner("This comment belongs to another user.")
