"""Companies add codes to UNIQUE promos: jobs, their files and rejected rows, and an index that finds duplicates.

Processes of an earlier version keep working: to them, a promo only has more codes than it was created with.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0016"
down_revision = "0015"

_COUNTS = ("received", "accepted", "duplicates", "rejected")
_TIMES = ("queued_at", "due_at", "started_at", "finished_at")


def upgrade() -> None:
    """Create the tables and the index.

    The index may exist already: on a large table, create it beforehand (see docs/deployment.md).
    """
    op.create_table(
        "jobs",
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("promo_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("progress", sa.JSON),
        sa.Column("steps", sa.Integer),
        sa.Column("steps_done", sa.Integer, nullable=False, server_default="0"),
        *(sa.Column(name, sa.Integer, nullable=False, server_default="0") for name in _COUNTS),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        *(sa.Column(name, sa.DateTime(timezone=True)) for name in _TIMES),
        sa.PrimaryKeyConstraint("company_id", "id", name="jobs_pk"),
        sa.CheckConstraint("kind IN ('import', 'generate')", name=op.f("jobs_known_kind_ck")),
        sa.CheckConstraint(
            "state IN ('uploading', 'queued', 'running', 'succeeded', 'failed')", name=op.f("jobs_known_state_ck")
        ),
        sa.CheckConstraint("(state = 'failed') = (failure IS NOT NULL)", name=op.f("jobs_failure_ck")),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)", name=op.f("jobs_finished_ck")
        ),
        sa.CheckConstraint("received = accepted + duplicates + rejected", name=op.f("jobs_counts_ck")),
    )
    op.execute("CREATE INDEX jobs_newest ON jobs (company_id, created_at DESC, id DESC)")
    waiting = "state IN ('queued', 'running')"
    op.execute(f"CREATE INDEX jobs_waiting ON jobs (promo_id, queued_at, id) WHERE {waiting}")
    op.execute(f"CREATE INDEX jobs_due ON jobs (due_at) WHERE {waiting}")
    op.execute("CREATE INDEX jobs_uploading ON jobs (created_at) WHERE state = 'uploading'")
    op.execute("CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL")
    op.create_table(
        "job_pieces",
        *_keys(),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.PrimaryKeyConstraint("company_id", "job_id", "number", name="job_pieces_pk"),
    )
    # Compression would take longer than the import.
    op.execute("ALTER TABLE job_pieces ALTER COLUMN content SET STORAGE EXTERNAL")
    op.create_table(
        "job_errors",
        *_keys(),
        sa.Column("lines", ARRAY(sa.Integer), nullable=False),
        sa.Column("reasons", ARRAY(sa.Text), nullable=False),
        sa.PrimaryKeyConstraint("company_id", "job_id", "number", name="job_errors_pk"),
    )
    # The C collation compares fastest.
    op.execute('CREATE INDEX IF NOT EXISTS promo_codes_value ON promo_codes (promo_id, value COLLATE "C")')


def _keys() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("company_id", sa.Uuid, nullable=False),
        sa.Column("job_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables, and with them unfinished imports. Added codes stay: `check` of 0014 reports their promos."""
    op.execute("DROP INDEX promo_codes_value")
    for table in ("job_errors", "job_pieces", "jobs"):
        op.drop_table(table)
