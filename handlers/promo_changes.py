"""Changes of a promo: of its row, the feed index and the audit log, in one transaction."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

from handlers.serializers import find_changed_members, serialize_promo
from handlers.versions import Versions, check_version
from persistence.feeds.feed_index import delete_feed_entries, insert_feed_entries
from persistence.promos.changes import insert_change
from persistence.promos.promo_words import update_search_words
from persistence.promos.promos import find_promo, update_counters, update_promo
from persistence.search import search_words
from promo_api.errors import InvalidInput, NotFound
from promo_api.specification import PROMO_MEMBERS

# The code of a change that contradicts the stored promo.
CONFLICT = "promo_conflict"
ENDS_TOO_EARLY = "must not be before active_from"
_BEGINS_TOO_LATE = "must not be after active_until"
# The members that are columns of promo_counters.
_COUNTERS = {
    "max_count": "use_limit",
    "low_stock_percent": "low_stock_percent",
    "activation_events": "activation_events",
}
# The feed index has copies of these members.
_INDEXED_MEMBERS = {"target", "active_from", "active_until", "max_count", "paused", "archived"}


def change_promo(
    connection: Any, promo_id: UUID, values: Mapping[str, Any], today: date, versions: Versions = None
) -> None:
    """Store new values of a promo of one of these versions, and record the changed members in the audit log."""
    promo = find_promo(connection, promo_id, today, locked=True)
    if promo is None:
        raise NotFound.promo()
    check_version(versions, serialize_promo(promo, "", None), PROMO_MEMBERS)
    changed = replace(promo, **values)
    changed_members = find_changed_members(promo, changed)
    if not changed_members:
        return
    index_changes = not _INDEXED_MEMBERS.isdisjoint(changed_members)
    if index_changes:
        delete_feed_entries(connection, promo_id)  # before the change: it finds the entries by the old values
    counters = {column: values[name] for name, column in _COUNTERS.items() if name in changed_members}
    if counters and not update_counters(connection, promo_id, counters):
        raise InvalidInput.body("/max_count", "must not be less than used_count", code=CONFLICT)
    columns = {name: value for name, value in values.items() if name not in _COUNTERS}
    if "active_until" in changed_members and (changed.active_until is None or changed.active_until >= today):
        columns["reported_until"] = None
    # The values may have only one end of the period, so the statement compares the new period.
    if columns and not update_promo(connection, promo_id, columns):
        raise _period_conflict(columns)
    if (changed.description, changed.categories) != (promo.description, promo.categories):
        words = search_words(promo.company_id, changed.description, changed.categories, changed.promo_common)
        update_search_words(connection, promo_id, words)
    if index_changes:
        insert_feed_entries(connection, promo_id, today)
    insert_change(connection, promo_id, promo.company_id, changed_members)


def _period_conflict(columns: Mapping[str, Any]) -> InvalidInput:
    """Return the error for the end of the period that the body has; the other is stored."""
    if "active_until" in columns:
        return InvalidInput.body("/active_until", ENDS_TOO_EARLY, code=CONFLICT)
    return InvalidInput.body("/active_from", _BEGINS_TOO_LATE, code=CONFLICT)
