"""The search words of promos that have none yet: an earlier version has created them, or any version changes them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Connection, Text, Update, Uuid, bindparam, cast, func, select, update
from sqlalchemy.dialects.postgresql import TSVECTOR

from persistence.database.statements import Statement
from persistence.schema.tables import promos


def _update() -> Update:
    ids, words = bindparam("ids", type_=ARRAY(Uuid)), bindparam("words", type_=ARRAY(Text))
    computed = func.unnest(ids, words).table_valued("id", "words", name="computed").render_derived()
    return update(promos).where(promos.c.id == computed.c.id).values(search_words=cast(computed.c.words, TSVECTOR))


_UPDATE = Statement(_update())
_WITHOUT_WORDS = Statement(
    select(*(promos.c[name] for name in ("id", "company_id", "description", "categories", "promo_common")))
    .where(promos.c.search_words.is_(None))
    .limit(bindparam("limit", type_=BigInteger))
    .with_for_update(key_share=True, skip_locked=True)
)


def claim_promos_without_words(connection: Connection, *, limit: int) -> dict[UUID, list[Any]]:
    """Lock promos without search words; return the arguments of `search_words` by id."""
    return {promo_id: texts for promo_id, *texts in _WITHOUT_WORDS.rows(connection, {"limit": limit})}


def update_search_words(connection: Connection, words: Mapping[UUID, str]) -> int:
    """Store the search words of promos and return their number. Each must be locked, or changed by the transaction."""
    return _UPDATE.count(connection, {"ids": [*words], "words": [*words.values()]})
