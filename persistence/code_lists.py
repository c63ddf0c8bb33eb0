"""The lists of UNIQUE promos, of which each process keeps those that it has read last.

A list may be a megabyte, and never changes from the moment that its promo is there; nor is a promo ever deleted. So
what is kept is right for good, on every process, and only room can make it go. A list is passed on as the JSON that
PostgreSQL has, since to parse it only to write it again would cost more than all the rest of its request.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from uuid import UUID

from cachetools import LRUCache
from sqlalchemy import ARRAY, Connection, Text, Uuid, bindparam, cast, func, select

from persistence.prepared import Prepared
from persistence.tables import promos

# What a list takes beside its JSON: its id, and its places in the tables of the cache. Without it thousands of lists of
# a few values each would take many times what they are counted as.
_ENTRY_BYTES = 512

_LISTS = Prepared(
    select(promos.c.id, cast(promos.c.promo_unique, Text)).where(
        promos.c.id == func.any(bindparam("ids", type_=ARRAY(Uuid)))
    )
)


class CodeLists:
    """The lists that one process keeps.

    Args:
        max_bytes: the memory that they may take; one that would not fit in it alone is read each time.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[UUID, bytes] = LRUCache(max_bytes, getsizeof=_kept_bytes)
        self._lock = Lock()

    def find_lists(self, connection: Connection, promo_ids: Sequence[UUID]) -> Mapping[UUID, bytes]:
        """Return the lists of promos, by id: JSON arrays of all values in the order of the creation, issued or not.

        Args:
            connection: where those that are not kept are read, by one statement; not in a transaction that has made
                one of the promos, since its list would be kept even if that is rolled back.
            promo_ids: UNIQUE promos; of those that are not there nothing is returned, or kept.
        """
        with self._lock:
            lists = {promo_id: self._kept[promo_id] for promo_id in promo_ids if promo_id in self._kept}
        missing = [promo_id for promo_id in promo_ids if promo_id not in lists]
        if missing:
            read = {row[0]: row[1].encode() for row in _LISTS.rows(connection, {"ids": missing})}
            self._keep(read)
            lists |= read
        return lists

    def _keep(self, lists: Mapping[UUID, bytes]) -> None:
        with self._lock:
            for promo_id, values in lists.items():
                if _kept_bytes(values) <= self._kept.maxsize:
                    self._kept[promo_id] = values


def _kept_bytes(values: bytes) -> int:
    return len(values) + _ENTRY_BYTES
