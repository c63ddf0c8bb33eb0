"""Counts the activity of the time before migration 0021, in batches.

A batch counts rows and stores its last row in one transaction. Comments and redemptions have a column that says
whether they are counted, because they can be deleted or voided meanwhile. An activation is not counted yet if it is
earlier than the migration; it never changes its promo, country or time.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Connection, DateTime, Integer, Text, Uuid, bindparam, text

from persistence.database.statements import Statement

# Requests may wait for a batch, so it must take milliseconds.
_BATCH_ROWS = 500
# A batch of activations reads about this many, or one promo: no request waits while it reads.
_BATCH_ACTIVATIONS = 20_000
_TYPES: dict[str, Any] = {
    "promo": Uuid,
    "row": Uuid,
    "began_at": DateTime(timezone=True),
    **dict.fromkeys(("promos", "rows", "users"), ARRAY(Uuid)),
    "quarters": ARRAY(DateTime(timezone=True)),
    "countries": ARRAY(Text),
    "numbers": ARRAY(Integer),
}


@dataclass(frozen=True)
class Backfill:
    """What is left to count of a table: the rows after `row_id`, or the promos after `promo_id`."""

    source: str
    promo_id: UUID
    row_id: UUID
    began_at: datetime


def _statement(sql: str, *parameters: str) -> Statement:
    # Not a parameter: the planner must know that a batch is small.
    sql = sql.replace("BATCH_ROWS", str(_BATCH_ROWS))
    return Statement(text(sql).bindparams(*(bindparam(name, type_=_TYPES[name]) for name in parameters)))


_UNFINISHED = Statement(text("SELECT count(*) FROM activity_backfills"))
_CLAIM = _statement(
    """
    SELECT source, promo_id, row_id, began_at FROM activity_backfills
    ORDER BY source LIMIT 1 FOR UPDATE SKIP LOCKED
    """
)
_FINISH = Statement(text("DELETE FROM activity_backfills WHERE source = :source"))
_SET_PROMO = _statement("UPDATE activity_backfills SET promo_id = :promo WHERE source = 'activations'", "promo")
_NEXT_PROMOS = _statement(
    """
    SELECT promo_id, used_count FROM promo_counters
    WHERE promo_id > :promo ORDER BY promo_id LIMIT BATCH_ROWS
    """,
    "promo",
)
_NO_TIMEOUT = Statement(text("SET LOCAL statement_timeout = 0"))
# The quarters of the migration come last, because activations wait for their rows.
_COUNT_ACTIVATIONS = _statement(
    """
    INSERT INTO promo_activity AS stored (promo_id, quarter, country_key, activations)
    SELECT promo_id, quarter_of(activated_at) AS quarter, country_key, count(*) FROM activations
    WHERE promo_id = ANY(:promos) AND activated_at < :began_at
    GROUP BY promo_id, quarter, country_key ORDER BY quarter, promo_id, country_key
    ON CONFLICT (promo_id, quarter, country_key)
    DO UPDATE SET activations = stored.activations + excluded.activations
    """,
    "promos",
    "began_at",
)
_NEXT_COMMENTS = _statement(
    """
    SELECT promo_id, id, author_id FROM comments WHERE (promo_id, id) > (:promo, :row) ORDER BY promo_id, id
    LIMIT BATCH_ROWS
    """,
    "promo",
    "row",
)
# Users are distributed by another key than comments.
_COUNTRIES = _statement("SELECT id, country_key FROM users WHERE id = ANY(:users)", "users")
_SET_COUNTRIES = _statement(
    """
    UPDATE comments SET country_key = author.country_key
    FROM unnest(:promos, :rows, :countries) AS author (promo_id, id, country_key)
    WHERE comments.promo_id = author.promo_id AND comments.id = author.id AND comments.country_key IS NULL
    RETURNING comments.promo_id, quarter_of(comments.created_at), comments.country_key
    """,
    "promos",
    "rows",
    "countries",
)
_ADD_COMMENTS = _statement(
    """
    INSERT INTO promo_activity AS stored (promo_id, quarter, country_key, comments)
    SELECT * FROM unnest(:promos, :quarters, :countries, :numbers)
    ON CONFLICT (promo_id, quarter, country_key) DO UPDATE SET comments = stored.comments + excluded.comments
    """,
    "promos",
    "quarters",
    "countries",
    "numbers",
)
_SET_COMMENT = _statement(
    "UPDATE activity_backfills SET promo_id = :promo, row_id = :row WHERE source = 'comments'", "promo", "row"
)
_COUNT_REDEMPTIONS = _statement(
    """
    WITH batch AS (
        SELECT promo_id, id FROM redemptions WHERE (promo_id, id) > (:promo, :row) ORDER BY promo_id, id
        LIMIT BATCH_ROWS
    ), counted AS (
        UPDATE redemptions SET is_counted = true FROM batch
        WHERE redemptions.promo_id = batch.promo_id AND redemptions.id = batch.id
            AND redemptions.state = 'confirmed' AND NOT redemptions.is_counted
        RETURNING redemptions.promo_id, quarter_of(redemptions.confirmed_at) AS quarter,
            coalesce(redemptions.country_key, '') AS country_key
    ), activity AS (
        INSERT INTO redemption_activity (promo_id, quarter, country_key, redemptions)
        SELECT promo_id, quarter, country_key, count(*) FROM counted GROUP BY promo_id, quarter, country_key
    ), place AS (
        UPDATE activity_backfills SET promo_id = last.promo_id, row_id = last.id
        FROM (SELECT promo_id, id FROM batch ORDER BY promo_id DESC, id DESC LIMIT 1) AS last
        WHERE source = 'redemptions'
    )
    SELECT count(*) FROM batch
    """,
    "promo",
    "row",
)


def count_backfills(connection: Connection) -> int:
    """Return how many tables have rows left to count."""
    return int(_UNFINISHED.value(connection, {}))


def claim_backfill(connection: Connection) -> Backfill | None:
    """Lock and return a backfill that is not locked; None: there is none."""
    row = _CLAIM.row(connection, {})
    return None if row is None else Backfill(*row)


def count_earlier_activity(connection: Connection, backfill: Backfill) -> int:
    """Count a batch in the transaction of the claim, and return its rows. Without rows, delete the backfill."""
    values = {"promo": backfill.promo_id, "row": backfill.row_id, "began_at": backfill.began_at}
    return _COUNT[backfill.source](connection, values) or _FINISH.count(connection, {"source": backfill.source})


def _count_activations(connection: Connection, values: dict[str, Any]) -> int:
    """Count the activations of the next promos, and return the number of promos."""
    promo_ids = _first_promos(_NEXT_PROMOS.rows(connection, values))
    if promo_ids:
        _NO_TIMEOUT.count(connection, {})
        _COUNT_ACTIVATIONS.count(connection, values | {"promos": promo_ids})
        _SET_PROMO.count(connection, {"promo": promo_ids[-1]})
    return len(promo_ids)


def _count_comments(connection: Connection, values: dict[str, Any]) -> int:
    """Count the next comments, by the countries of their authors, and return their number."""
    rows = _NEXT_COMMENTS.rows(connection, values)
    if not rows:
        return 0
    promo_ids, ids, author_ids = map(list, zip(*rows, strict=True))
    countries: dict[UUID, str | None] = dict(_COUNTRIES.rows(connection, {"users": [*set(author_ids)]}))
    of_comments = {"promos": promo_ids, "rows": ids, "countries": [countries.get(id_) or "" for id_ in author_ids]}
    counts = Counter(_SET_COUNTRIES.rows(connection, of_comments))
    # By quarter first, as in _COUNT_ACTIVATIONS.
    keys = sorted(counts, key=lambda key: (key[1], *key))
    added = {name: [key[place] for key in keys] for place, name in enumerate(("promos", "quarters", "countries"))}
    _ADD_COMMENTS.count(connection, added | {"numbers": [counts[key] for key in keys]})
    _SET_COMMENT.count(connection, {"promo": promo_ids[-1], "row": ids[-1]})
    return len(rows)


def _count_redemptions(connection: Connection, values: dict[str, Any]) -> int:
    """Count the next redemptions, and return their number."""
    return int(_COUNT_REDEMPTIONS.value(connection, values))


def _first_promos(rows: Sequence[tuple[Any, ...]]) -> list[UUID]:
    """Return the first promos, with together at most _BATCH_ACTIVATIONS uses unless the first has more."""
    promo_ids: list[UUID] = []
    total = 0
    for promo_id, used_count in rows:
        total += used_count
        if promo_ids and total > _BATCH_ACTIVATIONS:
            break
        promo_ids.append(promo_id)
    return promo_ids


_COUNT = {"activations": _count_activations, "comments": _count_comments, "redemptions": _count_redemptions}
