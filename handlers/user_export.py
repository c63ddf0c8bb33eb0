"""All that is kept about the user who asks."""

from handlers import Body
from handlers.shapes import event_shape, user_shape
from persistence.exports import (
    find_signed_up_at,
    list_likes,
    list_own_activations,
    list_own_comments,
    list_own_events,
    list_own_keys,
)
from persistence.users import User
from promo_api.errors import Unauthenticated
from promo_api.runtime import Runtime

# Of each list, as api.yml says: whole for nearly everybody, and a document that has an end for everybody else.
_ENTRIES_MAX = 10_000


def get_export(runtime: Runtime, user: User, *, offset: int) -> Body:
    """Return all of it in one document, of each list as many entries as fit in after `offset`."""
    page = {"limit": _ENTRIES_MAX, "offset": offset}
    with runtime.database.autocommit() as connection:
        signed_up_at = find_signed_up_at(connection, user.id)
        if signed_up_at is None:
            raise Unauthenticated.left()
        return {
            "account": {"id": user.id, "date": signed_up_at},
            "profile": user_shape(user),
            "likes": list_likes(connection, user.id, **page),
            "comments": [vars(comment) for comment in list_own_comments(connection, user.id, **page)],
            "activations": [vars(activation) for activation in list_own_activations(connection, user.id, **page)],
            "events": [event_shape(event) for event in list_own_events(connection, user.id, **page)],
            "idempotency_keys": [vars(key) for key in list_own_keys(connection, user.id, **page)],
        }
