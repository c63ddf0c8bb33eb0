"""A cache of the lists with which UNIQUE promos were created, which never change.

Lists stay JSON text: to parse and serialize a megabyte would cost more than the rest of the request.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any
from uuid import UUID

from cachetools import LRUCache
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Integer,
    Select,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)

from persistence.database.statements import Statement
from persistence.schema.tables import promo_codes, promos

# Overhead of an entry, which dominates for short lists.
_ENTRY_BYTES = 512

_FIRST = literal_column("1", Integer)
_IDS = bindparam("ids", type_=ARRAY(Uuid))
_LISTS = Statement(select(promos.c.id, cast(promos.c.promo_unique, Text)).where(promos.c.id == func.any(_IDS)))


def _first_codes() -> Select[Any]:
    # Added codes follow those of the list.
    number = func.least(bindparam("first", type_=BigInteger), func.json_array_length(promos.c.promo_unique))
    first = (
        select(promo_codes.c.value)
        .where(
            promo_codes.c.promo_id == promos.c.id,
            promo_codes.c.promo_id == func.any(_IDS),
            promo_codes.c.position.between(_FIRST, number),
        )
        .order_by(promo_codes.c.position)
        .scalar_subquery()
    )
    return select(promos.c.id, cast(func.to_json(func.array(first)), Text)).where(promos.c.id == func.any(_IDS))


_FIRST_CODES = Statement(_first_codes())
# The promo and the number of codes; None: all.
_Key = tuple[UUID, int | None]


class CodeLists:
    """The cache of one process. A list larger than `max_bytes` is not cached."""

    def __init__(self, max_bytes: int) -> None:
        self._cache: LRUCache[_Key, bytes] = LRUCache(max_bytes, getsizeof=_entry_bytes)
        self._lock = Lock()

    def find_lists(
        self, connection: Connection, promo_ids: Sequence[UUID], *, first: int | None = None
    ) -> Mapping[UUID, bytes]:
        """Return the first codes, or all, as JSON arrays.

        Not for promos inserted in this transaction: after a rollback they would stay cached.
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
