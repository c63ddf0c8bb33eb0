"""Activity of promos by quarter of an hour, the source of the statistics over time.

Triggers of migration 0021 write both tables in the transaction that acts. Lock order: a row of promo_activity comes
after the activation, like or comment that it counts, a row of redemption_activity after the redemption.
"""

from sqlalchemy import CheckConstraint, Column, DateTime, Integer, Table, Text, Uuid, func

from persistence.schema.tables import metadata

# Few rows still change, but those often: room for HOT updates.
_ROOM = {"fillfactor": "80"}

# An action counts in the quarter of an hour in which it happened, for the country of the user at that time. If it is
# undone, it is subtracted there. The country of deleted users is ''.
promo_activity = Table(
    "promo_activity",
    metadata,
    Column("promo_id", Uuid, primary_key=True),
    Column("quarter", DateTime(timezone=True), primary_key=True),  # its start
    Column("country_key", Text, primary_key=True),
    Column("activations", Integer, nullable=False, server_default="0"),
    Column("likes", Integer, nullable=False, server_default="0"),
    Column("comments", Integer, nullable=False, server_default="0"),
    CheckConstraint("activations >= 0 AND likes >= 0 AND comments >= 0", name="counts"),
    postgresql_with=_ROOM,
)

# Confirmed redemptions, as a sum of parts, which may be negative, like country_redemptions: redemptions do not wait for
# each other, nor for activations. The country of a COMMON promo is ''.
redemption_activity = Table(
    "redemption_activity",
    metadata,
    Column("promo_id", Uuid, primary_key=True),
    Column("quarter", DateTime(timezone=True), primary_key=True),  # of the confirmation
    Column("country_key", Text, primary_key=True),
    Column("part", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("redemptions", Integer, nullable=False),
    postgresql_with=_ROOM,
)

# What is left to count of the time before migration 0021: for each table the last counted row. Without a row, all of
# the table is counted. A batch locks the row, so one process at a time works on a table.
activity_backfills = Table(
    "activity_backfills",
    metadata,
    Column("source", Text, primary_key=True),
    Column("promo_id", Uuid, nullable=False),
    Column("row_id", Uuid, nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False),  # earlier activations are not counted yet
    CheckConstraint("source IN ('activations', 'comments', 'redemptions')", name="known_source"),
)
