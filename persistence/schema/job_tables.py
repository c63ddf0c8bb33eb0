"""Background jobs of companies, which import and generate codes.

They belong to the accounts: their keys begin with the company, and promo_id is no foreign key. Lock order: jobs before
the tables of promos.
"""

from sqlalchemy import (
    ARRAY,
    JSON,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    desc,
    func,
    literal_column,
)

from persistence.schema.tables import metadata

# A chunk of work locks the row, so one process at a time works on a job.
jobs = Table(
    "jobs",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("promo_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("failure", Text),  # of a failed job
    Column("options", JSON, nullable=False),
    Column("progress", JSON),  # what the next chunk needs from the one before
    Column("steps", Integer),  # pieces of an import, codes to generate; NULL: uploading
    Column("steps_done", Integer, nullable=False, server_default="0"),
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("received", "accepted", "duplicates", "rejected")
    ),
    Column("attempts", Integer, nullable=False, server_default="0"),  # failed since the last chunk
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("queued_at", DateTime(timezone=True)),  # orders the jobs of a promo
    Column("due_at", DateTime(timezone=True)),  # of the next chunk
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("kind IN ('import', 'generate')", name="known_kind"),
    CheckConstraint("state IN ('uploading', 'queued', 'running', 'succeeded', 'failed')", name="known_state"),
    CheckConstraint("(state = 'failed') = (failure IS NOT NULL)", name="failure"),
    CheckConstraint("(state IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)", name="finished"),
    CheckConstraint("received = accepted + duplicates + rejected", name="counts"),
)
# Literals, so that the planner can use the partial indexes.
IS_WAITING = jobs.c.state.in_([literal_column("'queued'"), literal_column("'running'")])
Index("jobs_newest", jobs.c.company_id, desc(jobs.c.created_at), desc(jobs.c.id))
Index("jobs_waiting", jobs.c.promo_id, jobs.c.queued_at, jobs.c.id, postgresql_where=IS_WAITING)
Index("jobs_due", jobs.c.due_at, postgresql_where=IS_WAITING)
Index("jobs_uploading", jobs.c.created_at, postgresql_where=jobs.c.state == literal_column("'uploading'"))
Index("jobs_finished", jobs.c.finished_at, postgresql_where=jobs.c.finished_at.is_not(None))

# The uploaded file. A piece is deleted by the chunk that imports it.
job_pieces = Table(
    "job_pieces",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    Column("job_id", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # from 1
    Column("content", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
)

# The rejected rows of a piece.
job_errors = Table(
    "job_errors",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    Column("job_id", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # of the piece
    Column("lines", ARRAY(Integer), nullable=False),
    Column("reasons", ARRAY(Text), nullable=False),
)
