"""Positions of writes in the WAL, which decide whether a replica is recent enough for an account."""

from sqlalchemy import BigInteger, Column, DateTime, Table, Uuid, func

from persistence.schema.tables import metadata

# One row for each account that wrote in the last minutes, and one that shows whether the table was emptied. Unlogged:
# such a commit waits neither for the disk nor for a standby. A crash or a failover empties the table.
account_writes = Table(
    "account_writes",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    # In bytes, after the last write.
    Column("lsn", BigInteger, nullable=False),
    Column("written_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    prefixes=["UNLOGGED"],
    # The file stays large, so that the planner does not take the table for a tiny one.
    postgresql_with={"fillfactor": "50", "vacuum_truncate": "false"},
)
