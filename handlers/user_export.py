"""All that is kept about the user who asks."""

from typing import Any

from handlers import Body
from handlers.shapes import event_shape, user_shape
from persistence.accounts.exports import (
    find_signed_up_at,
    list_likes,
    list_own_activations,
    list_own_comments,
    list_own_events,
    list_own_keys,
)
from persistence.accounts.users import User
from promo_api.errors import Unauthenticated
from promo_api.runtime import Runtime


def get_export(runtime: Runtime, user: User, *, offset: int, entries_max: int) -> Body:
    """Return at most `entries_max` entries of each list after `offset`, and the offset of the next entries."""
    # One more entry than is returned shows whether there are further ones.
    page = {"limit": entries_max + 1, "offset": offset}
    with runtime.database.autocommit() as connection:
        lists: dict[str, list[Any]] = {
            "likes": list_likes(connection, user.id, **page),
            "comments": [vars(comment) for comment in list_own_comments(connection, user.id, **page)],
            "activations": [vars(activation) for activation in list_own_activations(connection, user.id, **page)],
            "events": [event_shape(event) for event in list_own_events(connection, user.id, **page)],
            "idempotency_keys": [vars(key) for key in list_own_keys(connection, user.id, **page)],
        }
        # Last: an account that is closed meanwhile has lost entries, and is refused.
        signed_up_at = find_signed_up_at(connection, user.id)
        if signed_up_at is None:
            raise Unauthenticated.left()
    has_more = any(len(entries) > entries_max for entries in lists.values())
    return {
        "account": {"id": user.id, "date": signed_up_at},
        "profile": user_shape(user),
        **{name: entries[:entries_max] for name, entries in lists.items()},
        **({"next_offset": offset + entries_max} if has_more else {}),
    }
