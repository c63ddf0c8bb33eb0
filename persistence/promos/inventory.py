"""The numbers of active promos and of their codes, over all companies."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, Select, func, literal, select

from persistence.conditions import is_active
from persistence.database.statements import Statement
from persistence.schema.tables import promo_counters, promos


@dataclass(frozen=True)
class Inventory:
    """The active promos, and their codes that are not issued yet."""

    active_promos: int
    codes_left: int


def _count() -> Select[Any]:
    left = func.sum(promo_counters.c.use_limit - promo_counters.c.used_count)
    codes = func.coalesce(left.filter(promos.c.mode == literal("UNIQUE")), 0)
    joined = select(func.count(), codes).join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
    return joined.where(is_active())


_COUNT = Statement(_count())


def count_inventory(connection: Connection, today: date) -> Inventory:
    """Count everything. It reads all promos: a million take 0.8 s of a processor."""
    [row] = _COUNT.rows(connection, {"today": today})
    return Inventory(int(row[0]), int(row[1]))
