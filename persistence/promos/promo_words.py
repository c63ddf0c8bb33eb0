"""The search words of promos that have none yet: an earlier version has created them, or any version changes them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Connection, Text, Uuid, bindparam, cast, select, update
from sqlalchemy.dialects.postgresql import TSVECTOR

from persistence.database.statements import Statement
from persistence.schema.tables import promos

_IS_PROMO = promos.c.id == bindparam("promo", type_=Uuid)
_UPDATE = Statement(update(promos).where(_IS_PROMO).values(search_words=cast(bindparam("words", type_=Text), TSVECTOR)))
_HAS_NO_WORDS = promos.c.search_words.is_(None)
_LIST = Statement(select(promos.c.id).where(_HAS_NO_WORDS).limit(bindparam("limit", type_=BigInteger)))
_CLAIM = Statement(
    select(*(promos.c[name] for name in ("company_id", "description", "categories", "promo_common")))
    .where(_IS_PROMO, _HAS_NO_WORDS)
    .with_for_update(key_share=True, skip_locked=True)
)


def list_promos_without_words(connection: Connection, *, limit: int) -> list[UUID]:
    """Return promos without search words."""
    return [row[0] for row in _LIST.rows(connection, {"limit": limit})]


def claim_promo_without_words(connection: Connection, promo_id: UUID) -> Sequence[Any] | None:
    """Lock a promo in a transaction, and return the arguments of `search_words`; None: it is locked, or has words."""
    return _CLAIM.row(connection, {"promo": promo_id})


def update_search_words(connection: Connection, promo_id: UUID, words: str) -> int:
    """Store the search words of a promo, and return 1. It must be locked, or changed by the transaction."""
    return _UPDATE.count(connection, {"promo": promo_id, "words": words})
