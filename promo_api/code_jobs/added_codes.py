"""Added codes of a promo: its limit, feed entries and audit log.

Each function ends a transaction, because it locks the promo.
"""

from datetime import date
from typing import Any
from uuid import UUID

from persistence.feeds.feed_index import delete_feed_entries, insert_feed_entries
from persistence.promos.changes import insert_change
from persistence.promos.promos import Promo, find_promo, update_counters


def count_added_codes(connection: Any, promo_id: UUID, added: int, today: date) -> None:
    """Let added codes be issued. An exhausted promo becomes active again."""
    promo = _lock(connection, promo_id, today)
    is_exhausted = promo.used_count == promo.codes_count
    if is_exhausted:
        delete_feed_entries(connection, promo_id)
    update_counters(connection, promo_id, {"use_limit": (promo.codes_count or 0) + added})
    if is_exhausted:
        insert_feed_entries(connection, promo_id, today)


def record_added_codes(
    connection: Any, promo_id: UUID, company_id: UUID, *, before: int, after: int, today: date
) -> None:
    """Record added codes in the audit log of the promo."""
    _lock(connection, promo_id, today)
    insert_change(connection, promo_id, company_id, {"codes_count": {"from": before, "to": after}})


def _lock(connection: Any, promo_id: UUID, today: date) -> Promo:
    promo = find_promo(connection, promo_id, today, locked=True)
    if promo is None:
        raise LookupError(promo_id)
    return promo
