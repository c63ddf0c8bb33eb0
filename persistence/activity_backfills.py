"""Counts the activity of the time before migration 0021, in batches.

A batch counts rows and stores its last row in one transaction. Comments and redemptions have a column that says
whether they are counted, because they can be deleted or voided meanwhile. An activation is not counted yet if it is
earlier than the migration; it never changes its promo, country or time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Connection, DateTime, Uuid, bindparam, text

from persistence.database.statements import Statement

# Requests may wait for a batch, so it must take milliseconds.
_BATCH_ROWS = 500
# A batch of activations reads about this many, or one promo: no request waits while it reads.
_BATCH_ACTIVATIONS = 20_000
_TYPES: dict[str, Any] = {"promo": Uuid, "row": Uuid, "began_at": DateTime(timezone=True), "promos": ARRAY(Uuid)}


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
_COUNT_COMMENTS = _statement(
    """
    WITH batch AS (
        SELECT promo_id, id FROM comments WHERE (promo_id, id) > (:promo, :row) ORDER BY promo_id, id
        LIMIT BATCH_ROWS
    ), counted AS (
        UPDATE comments
        SET country_key = coalesce((SELECT users.country_key FROM users WHERE users.id = comments.author_id), '')
        FROM batch
        WHERE comments.promo_id = batch.promo_id AND comments.id = batch.id AND comments.country_key IS NULL
        RETURNING comments.promo_id, quarter_of(comments.created_at) AS quarter, comments.country_key
    ), activity AS (
        INSERT INTO promo_activity AS stored (promo_id, quarter, country_key, comments)
        SELECT promo_id, quarter, country_key, count(*) FROM counted
        GROUP BY promo_id, quarter, country_key ORDER BY quarter, promo_id, country_key
        ON CONFLICT (promo_id, quarter, country_key) DO UPDATE SET comments = stored.comments + excluded.comments
    ), place AS (
        UPDATE activity_backfills SET promo_id = last.promo_id, row_id = last.id
        FROM (SELECT promo_id, id FROM batch ORDER BY promo_id DESC, id DESC LIMIT 1) AS last
        WHERE source = 'comments'
    )
    SELECT count(*) FROM batch
    """,
    "promo",
    "row",
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
_ROWS = {"comments": _COUNT_COMMENTS, "redemptions": _COUNT_REDEMPTIONS}


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
    count = _count_activations if backfill.source == "activations" else _ROWS[backfill.source].value
    return int(count(connection, values)) or _FINISH.count(connection, {"source": backfill.source})


def _count_activations(connection: Connection, values: dict[str, Any]) -> int:
    """Count the activations of the next promos, and return the number of promos."""
    promo_ids = _first_promos(_NEXT_PROMOS.rows(connection, values))
    if promo_ids:
        _NO_TIMEOUT.count(connection, {})
        _COUNT_ACTIVATIONS.count(connection, values | {"promos": promo_ids})
        _SET_PROMO.count(connection, {"promo": promo_ids[-1]})
    return len(promo_ids)


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
