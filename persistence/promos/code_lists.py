"""The code lists of UNIQUE promos, cached in each process: whole lists, and their first codes.

A list never changes, so a cached list never expires. It may have a megabyte, so it stays JSON text: to parse and
serialize it would cost more than the rest of the request.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any
from uuid import UUID

from cachetools import LRUCache
from sqlalchemy import ARRAY, BigInteger, Connection, Select, Text, Uuid, bindparam, cast, func, select

from persistence.database.statements import Statement
from persistence.schema.tables import promo_codes, promos

# Memory of an entry besides its JSON. Without it, thousands of short lists would exceed the limit many times.
_ENTRY_BYTES = 512

_IDS = bindparam("ids", type_=ARRAY(Uuid))
_LISTS = Statement(select(promos.c.id, cast(promos.c.promo_unique, Text)).where(promos.c.id == func.any(_IDS)))


def _first_codes() -> Select[Any]:
    """Return the statement for the first codes of promos. It reads promo_codes, because lists may be very long."""
    first = (
        select(promo_codes.c.value)
        .where(promo_codes.c.promo_id == promos.c.id)
        .order_by(promo_codes.c.position)
        .limit(bindparam("first", type_=BigInteger))
        .scalar_subquery()
    )
    return select(promos.c.id, cast(func.to_json(func.array(first)), Text)).where(promos.c.id == func.any(_IDS))


_FIRST_CODES = Statement(_first_codes())
# The promo, and how many of its codes are in the list; None: all.
_Key = tuple[UUID, int | None]


class CodeLists:
    """The cache of one process.

    Args:
        max_bytes: the memory limit; a list above it is not cached.
    """

    def __init__(self, max_bytes: int) -> None:
        self._cache: LRUCache[_Key, bytes] = LRUCache(max_bytes, getsizeof=_entry_bytes)
        self._lock = Lock()

    def find_lists(
        self, connection: Connection, promo_ids: Sequence[UUID], *, first: int | None = None
    ) -> Mapping[UUID, bytes]:
        """Return the first codes of UNIQUE promos, or all codes, as JSON arrays by promo id.

        Not for a transaction that has inserted one of the promos: its list would stay cached after a rollback.
        """
        with self._lock:
            lists = {
                promo_id: self._cache[promo_id, first] for promo_id in promo_ids if (promo_id, first) in self._cache
            }
        missing = [promo_id for promo_id in promo_ids if promo_id not in lists]
        if missing:
            statement, limit = (_LISTS, {}) if first is None else (_FIRST_CODES, {"first": first})
            rows = statement.rows(connection, {"ids": missing, **limit})
            missing_lists = {promo_id: json.encode() for promo_id, json in rows}
            self._store({(promo_id, first): json for promo_id, json in missing_lists.items()})
            lists |= missing_lists
        return lists

    def _store(self, lists: Mapping[_Key, bytes]) -> None:
        with self._lock:
            for key, json in lists.items():
                if _entry_bytes(json) <= self._cache.maxsize:
                    self._cache[key] = json


def _entry_bytes(json: bytes) -> int:
    return len(json) + _ENTRY_BYTES
