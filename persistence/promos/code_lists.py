"""The code lists of UNIQUE promos, cached in each process: whole lists, and the first codes of lists.

A list may be a megabyte, and never changes from the moment that its promo is there; nor is a promo ever deleted. So
what is kept is right for good, on every process, and only room can make it go. A list is passed on as the JSON that
PostgreSQL has, since to parse it only to write it again would cost more than all the rest of its request.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any
from uuid import UUID

from cachetools import LRUCache
from sqlalchemy import ARRAY, BigInteger, Connection, Select, Text, Uuid, bindparam, cast, func, select

from persistence.database.statements import Statement
from persistence.schema.tables import promo_codes, promos

# What a list takes beside its JSON: its id, and its places in the tables of the cache. Without it thousands of lists of
# a few values each would take many times what they are counted as.
_ENTRY_BYTES = 512

_IDS = bindparam("ids", type_=ARRAY(Uuid))
_LISTS = Statement(select(promos.c.id, cast(promos.c.promo_unique, Text)).where(promos.c.id == func.any(_IDS)))


def _first_codes() -> Select[Any]:
    """Return the statement for the first codes of promos, read by the primary key: lists may be 50 times as long."""
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
    """The lists that one process keeps.

    Args:
        max_bytes: the memory that they may take; one that would not fit in it alone is read each time.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[_Key, bytes] = LRUCache(max_bytes, getsizeof=_kept_bytes)
        self._lock = Lock()

    def find_lists(
        self, connection: Connection, promo_ids: Sequence[UUID], *, first: int | None = None
    ) -> Mapping[UUID, bytes]:
        """Return the lists of promos, by id: JSON arrays of all values in the order of the creation, issued or not.

        Args:
            connection: where those that are not kept are read, by one statement; not in a transaction that has made
                one of the promos, since its list would be kept even if that is rolled back.
            promo_ids: UNIQUE promos; of those that are not there nothing is returned, or kept.
            first: how many values of each list to return at most. None: all.
        """
        with self._lock:
            lists = {promo_id: self._kept[promo_id, first] for promo_id in promo_ids if (promo_id, first) in self._kept}
        missing = [promo_id for promo_id in promo_ids if promo_id not in lists]
        if missing:
            statement, bound = (_LISTS, {}) if first is None else (_FIRST_CODES, {"first": first})
            read = {row[0]: row[1].encode() for row in statement.rows(connection, {"ids": missing, **bound})}
            self._keep({(promo_id, first): values for promo_id, values in read.items()})
            lists |= read
        return lists

    def _keep(self, lists: Mapping[_Key, bytes]) -> None:
        with self._lock:
            for key, values in lists.items():
                if _kept_bytes(values) <= self._kept.maxsize:
                    self._kept[key] = values


def _kept_bytes(values: bytes) -> int:
    return len(values) + _ENTRY_BYTES
