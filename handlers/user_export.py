"""Export of all data stored about a user."""

from typing import Any

from handlers import Body
from handlers.serializers import serialize_event, serialize_exported_activation, serialize_user
from persistence.accounts.exports import (
    find_sign_up_time,
    list_likes,
    list_own_comments,
    list_own_events,
    list_own_keys,
    list_own_reports,
)
from persistence.accounts.own_activations import list_own_activations
from persistence.accounts.users import User
from promo_api.errors import Unauthenticated
from promo_api.runtime import Runtime
from promo_api.specification import MAX_EXPORT_ENTRIES


def get_export(runtime: Runtime, user: User, *, offset: int = 0) -> Body:
    """Return the entries of each list from `offset` on, and `next_offset` if there are more."""
    # One more entry shows whether there is a next page.
    page = {"limit": MAX_EXPORT_ENTRIES + 1, "offset": offset}
    with runtime.database.autocommit() as connection:
        lists: dict[str, list[Any]] = {
            "likes": list_likes(connection, user.id, **page),
            "comments": [vars(comment) for comment in list_own_comments(connection, user.id, **page)],
            "comment_reports": [vars(report) for report in list_own_reports(connection, user.id, **page)],
            "activations": [
                serialize_exported_activation(activation)
                for activation in list_own_activations(connection, user.id, **page)
            ],
            "events": [serialize_event(event) for event in list_own_events(connection, user.id, **page)],
            "idempotency_keys": [vars(key) for key in list_own_keys(connection, user.id, **page)],
        }
        # Last, because a concurrent deletion may have removed entries of the lists.
        signed_up_at = find_sign_up_time(connection, user.id)
        if signed_up_at is None:
            raise Unauthenticated.account_deleted()
    has_more = any(len(entries) > MAX_EXPORT_ENTRIES for entries in lists.values())
    return {
        "account": {"id": user.id, "date": signed_up_at},
        "profile": serialize_user(user),
        **{name: entries[:MAX_EXPORT_ENTRIES] for name, entries in lists.items()},
        **({"next_offset": offset + MAX_EXPORT_ENTRIES} if has_more else {}),
    }
