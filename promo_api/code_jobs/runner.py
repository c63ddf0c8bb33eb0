"""Works through the jobs of companies, in chunks.

Each worker takes the next chunk of any job. A chunk is one transaction: it locks the job, reads one piece of the file,
inserts codes, and stores the counts and where the next chunk begins. The promo itself is locked at the end, so claims
wait for milliseconds. Jobs of one promo run one after the other, and those of several promos take turns.
"""

import logging
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from persistence.accounts.companies import claim_company
from persistence.database.engine import Database
from persistence.jobs import (
    Chunk,
    Job,
    claim_job,
    claim_piece,
    close_job,
    insert_errors,
    list_due_jobs,
    update_attempts,
    update_job,
)
from persistence.promos.code_search import insert_code_lookup
from persistence.promos.codes import count_codes, insert_codes
from promo_api.background import BackgroundJob
from promo_api.code_jobs.added_codes import count_added_codes, record_added_codes
from promo_api.code_jobs.patterns import Pattern
from promo_api.code_jobs.rows import RowReader
from promo_api.errors import ServiceUnavailable
from promo_api.short_turns import short_turns
from promo_api.specification import MAX_CODES
from promo_api.telemetry import metrics

_log = logging.getLogger(__name__)

IMPORT, GENERATE = "import", "generate"
# Of a company.
UNFINISHED_MAX = 10
# Rows of 15 bytes: 2,200 in a chunk, which takes 30 ms.
PIECE_BYTES = 32 * 1024
_GENERATED = 1500
_EVERY_S, _REST = 1.0, 0.25
_DUE = 20
_ATTEMPTS, _PAUSE_MAX_S = 10, 300


class _TooManyCodes(Exception):
    """The promo would have more codes than allowed."""


class CodeJobs:
    """Works through the jobs of all companies."""

    def __init__(self, database: Database, today: Callable[[], date]) -> None:
        self._database = database
        self._today = today

    def run_chunk(self) -> bool:
        """Do the next chunk of a job; False: none is waiting."""
        with self._database.autocommit() as connection:
            due = list_due_jobs(connection, limit=_DUE)
        if not due:
            return False
        with short_turns():
            return any(self._run(company_id, job_id) for company_id, job_id in due)

    def _run(self, company_id: UUID, job_id: UUID) -> bool:
        try:
            with self._database.transaction() as connection:
                job = claim_job(connection, company_id, job_id)
                if job is None:
                    return False
                outcome = self._work(connection, job)
        except ServiceUnavailable:
            raise
        except _TooManyCodes:
            self._fail(company_id, job_id, "too_many_codes")
            return True
        except Exception:  # noqa: BLE001 a defect must not delay other jobs
            _log.warning("code_job_failed", extra={"job": str(job_id)}, exc_info=True)
            self._postpone(company_id, job_id)
            return True
        for name, number in outcome.items():
            metrics.code_rows(name, number)
        return True

    def _postpone(self, company_id: UUID, job_id: UUID) -> None:
        """Retry a job later, because of a defect; after some attempts it fails."""
        with self._database.transaction() as connection:
            job = claim_job(connection, company_id, job_id)
            if job is None:
                return
            update_attempts(connection, job, timedelta(seconds=min(2**job.attempts, _PAUSE_MAX_S)))
            if job.attempts + 1 >= _ATTEMPTS:
                self._finish(connection, job, job.accepted, "internal_error")

    def _fail(self, company_id: UUID, job_id: UUID, failure: str) -> None:
        with self._database.transaction() as connection:
            job = claim_job(connection, company_id, job_id)
            if job is not None:
                self._finish(connection, job, job.accepted, failure)

    def _work(self, connection: Any, job: Job) -> dict[str, int]:
        """Do a chunk, and return the numbers of rows by result."""
        if not claim_company(connection, job.company_id):
            self._finish(connection, job, job.accepted, "company_closed")
            return {}
        before = count_codes(connection, job.promo_id)
        make_chunk = _import_piece if job.kind == IMPORT else _generate
        chunk = make_chunk(connection, job, before)
        if before + chunk.accepted > MAX_CODES:
            raise _TooManyCodes
        update_job(connection, job, chunk)
        if chunk.accepted:
            count_added_codes(connection, job.promo_id, chunk.accepted, self._today())
        if job.steps_done + chunk.steps == job.steps:
            self._finish(connection, job, job.accepted + chunk.accepted)
        return {name: getattr(chunk, name) for name in ("accepted", "duplicates", "rejected")}

    def _finish(self, connection: Any, job: Job, accepted: int, failure: str | None = None) -> None:
        close_job(connection, job, failure)
        if accepted:
            after = count_codes(connection, job.promo_id)
            record_added_codes(
                connection, job.promo_id, job.company_id, before=after - accepted, after=after, today=self._today()
            )
        metrics.code_job_finished(job.kind, failure or "succeeded")


def _import_piece(connection: Any, job: Job, before: int) -> Chunk:
    number = job.steps_done + 1
    reader = RowReader(**(job.progress or {"media_type": job.options["media_type"]}))
    rows = reader.read(claim_piece(connection, job, number), is_last=number == job.steps)
    skips = job.options["on_duplicate"] == "skip"
    codes = list(dict.fromkeys(rows.codes)) if skips else rows.codes
    accepted = insert_codes(connection, job.promo_id, codes, before=before, skips_duplicates=skips) if codes else 0
    insert_code_lookup(connection, job.company_id, job.promo_id, codes)
    if rows.lines:
        insert_errors(connection, job, number, rows.lines, rows.reasons)
    return Chunk(
        received=len(rows.codes) + len(rows.lines),
        accepted=accepted,
        duplicates=len(rows.codes) - accepted,
        rejected=len(rows.lines),
        steps=1,
        progress=vars(reader),
    )


def _generate(connection: Any, job: Job, before: int) -> Chunk:
    """Generate codes. The next chunk replaces the ones that the promo has already."""
    pattern = Pattern(job.options["pattern"], job.options["alphabet"])
    codes = list(set(pattern.generate(min(_GENERATED, (job.steps or 0) - job.steps_done))))
    accepted = insert_codes(connection, job.promo_id, codes, before=before, skips_duplicates=True, generated=True)
    insert_code_lookup(connection, job.company_id, job.promo_id, codes)
    return Chunk(received=accepted, accepted=accepted, duplicates=0, rejected=0, steps=accepted)


def code_jobs(database: Database, today: Callable[[], date]) -> BackgroundJob:
    """Return the background job that works through the jobs."""
    return BackgroundJob("code_jobs", CodeJobs(database, today).run_chunk, _EVERY_S, rest=_REST)
