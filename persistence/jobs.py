"""Jobs of companies: their files, progress and rejected rows.

A chunk of work is one transaction that locks its job. So each row counts once, even if processes die.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Connection,
    DateTime,
    Integer,
    Interval,
    LargeBinary,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    delete,
    desc,
    exists,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    tuple_,
    update,
)

from persistence.database.statements import CLOCK, Statement, as_json
from persistence.pages import Key, Page, after, uncounted_page
from persistence.schema.job_tables import IS_WAITING, job_errors, job_pieces, jobs
from persistence.schema.tables import companies


@dataclass(frozen=True)
class Job:
    """A job. `steps` counts pieces of an import, or codes to generate; None: its file is not complete."""

    company_id: UUID
    id: UUID
    promo_id: UUID
    kind: str
    state: str
    failure: str | None
    options: dict[str, Any]
    progress: dict[str, Any] | None
    steps: int | None
    steps_done: int
    received: int
    accepted: int
    duplicates: int
    rejected: int
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class Chunk:
    """What one transaction has done for a job."""

    received: int
    accepted: int
    duplicates: int
    rejected: int
    steps: int
    progress: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RejectedRows:
    """The rejected rows of a piece: the line and the reason of each."""

    piece: int
    lines: list[int]
    reasons: list[str]


_COMPANY_ID, _JOB_ID, _NUMBER = (
    bindparam("company", type_=Uuid),
    bindparam("job", type_=Uuid),
    bindparam("piece", type_=Integer),
)
_IS_JOB = and_(jobs.c.company_id == _COMPANY_ID, jobs.c.id == _JOB_ID)
_IS_UPLOADING = jobs.c.state == literal_column("'uploading'")
# Not clock_timestamp(): Citus allows no VOLATILE function in an UPDATE.
_NOW = func.statement_timestamp()
_JOB = select(*(jobs.c[name] for name in Job.__dataclass_fields__))
_OF_PIECE = and_(job_pieces.c.company_id == _COMPANY_ID, job_pieces.c.job_id == _JOB_ID)
_OF_ERRORS = and_(job_errors.c.company_id == _COMPANY_ID, job_errors.c.job_id == _JOB_ID)
_OPEN = companies.c.password_hash.is_not(None)
# Serializes new jobs of a company, so that their limit is exact.
_LOCK_COMPANY = Statement(
    select(companies.c.id).where(companies.c.id == _COMPANY_ID, _OPEN).with_for_update(key_share=True)
)


_COUNT_UNFINISHED = Statement(
    select(func.count()).where(jobs.c.company_id == _COMPANY_ID, jobs.c.finished_at.is_(None))
)
_INSERT = Statement(
    insert(jobs).values(
        company_id=_COMPANY_ID,
        id=_JOB_ID,
        promo_id=bindparam("promo", type_=Uuid),
        kind=bindparam("new_kind", type_=Text),
        state=literal_column("'uploading'"),
        options=bindparam("new_options", type_=JSON),
    )
)
_INSERT_PIECE = Statement(
    insert(job_pieces).values(
        company_id=_COMPANY_ID, job_id=_JOB_ID, number=_NUMBER, content=bindparam("bytes", type_=LargeBinary)
    )
)
_CLOSE_UPLOAD = Statement(
    update(jobs)
    .where(_IS_JOB, _IS_UPLOADING)
    .values(state=literal("queued", Text), queued_at=_NOW, due_at=_NOW, steps=bindparam("new_steps", type_=Integer))
    .returning(*(jobs.c[name] for name in Job.__dataclass_fields__))
)
_FIND = Statement(_JOB.where(_IS_JOB))
_NEWEST = jobs.c.created_at, jobs.c.id
_OF_COMPANY = (
    _JOB.where(jobs.c.company_id == _COMPANY_ID)
    .order_by(*map(desc, _NEWEST))
    .limit(bindparam("limit", type_=BigInteger))
)
_FIRST, _AFTER = Statement(_OF_COMPANY), Statement(_OF_COMPANY.where(tuple_(*_NEWEST) < tuple_(*map(after, _NEWEST))))
_earlier = jobs.alias("earlier")
_is_waiting_earlier = _earlier.c.state.in_([literal_column("'queued'"), literal_column("'running'")])
_PRECEDES = and_(
    _earlier.c.company_id == jobs.c.company_id,
    _earlier.c.promo_id == jobs.c.promo_id,
    _is_waiting_earlier,
    tuple_(_earlier.c.queued_at, _earlier.c.id) < tuple_(jobs.c.queued_at, jobs.c.id),
)
# The first job of each promo; the one that has waited longest for its next chunk comes first.
_DUE = Statement(
    select(jobs.c.company_id, jobs.c.id)
    .where(
        IS_WAITING,
        jobs.c.due_at <= _NOW,
        ~exists(select(_earlier.c.id).where(_PRECEDES)),
    )
    .order_by(jobs.c.due_at)
    .limit(bindparam("limit", type_=BigInteger))
)
_CLAIM = Statement(_JOB.where(_IS_JOB, IS_WAITING).with_for_update(skip_locked=True))
_CLAIM_PIECE = Statement(
    delete(job_pieces).where(_OF_PIECE, job_pieces.c.number == _NUMBER).returning(job_pieces.c.content)
)
_UPDATE = Statement(
    update(jobs)
    .where(_IS_JOB)
    .values(
        state=literal("running", Text),
        started_at=func.coalesce(jobs.c.started_at, CLOCK.c.now),
        steps_done=jobs.c.steps_done + bindparam("more_steps", type_=Integer),
        progress=bindparam("new_progress", type_=JSON),
        attempts=0,
        due_at=_NOW,
        **{
            name: jobs.c[name] + bindparam(f"more_{name}", type_=Integer)
            for name in ("received", "accepted", "duplicates", "rejected")
        },
    )
)
_FAILURE = bindparam("reason", type_=Text)
_CLOSE = Statement(
    update(jobs)
    .where(_IS_JOB, jobs.c.finished_at.is_(None))
    .values(
        state=case((_FAILURE.is_(None), literal("succeeded", Text)), else_=literal("failed", Text)),
        failure=_FAILURE,
        started_at=func.coalesce(jobs.c.started_at, CLOCK.c.now),
        finished_at=_NOW,
        progress=null(),
    )
)
_UPDATE_ATTEMPTS = Statement(
    update(jobs).where(_IS_JOB).values(attempts=jobs.c.attempts + 1, due_at=_NOW + bindparam("pause", type_=Interval))
)
_INSERT_ERRORS = Statement(
    insert(job_errors).values(
        company_id=_COMPANY_ID,
        job_id=_JOB_ID,
        number=_NUMBER,
        lines=bindparam("new_lines", type_=ARRAY(Integer)),
        reasons=bindparam("new_reasons", type_=ARRAY(Text)),
    )
)
_ERRORS = Statement(
    select(job_errors.c.number, job_errors.c.lines, job_errors.c.reasons)
    .where(_OF_ERRORS, job_errors.c.number > _NUMBER)
    .order_by(job_errors.c.number)
    .limit(bindparam("limit", type_=BigInteger))
)
_DELETE = Statement(delete(jobs).where(_IS_JOB, jobs.c.state != literal_column("'running'")))
_LIMIT, _SINCE = bindparam("limit", type_=BigInteger), bindparam("since", type_=DateTime(timezone=True))
_OWNER = (job_pieces.c.company_id == jobs.c.company_id, job_pieces.c.job_id == jobs.c.id)
_has_new_piece = exists(select(job_pieces.c.number).where(*_OWNER, job_pieces.c.created_at >= _SINCE))
_ABANDONED = Statement(
    select(jobs.c.company_id, jobs.c.id).where(_IS_UPLOADING, jobs.c.created_at < _SINCE, ~_has_new_piece).limit(_LIMIT)
)
_OLD = Statement(
    select(jobs.c.company_id, jobs.c.id)
    .where(jobs.c.finished_at.is_not(None), jobs.c.finished_at < _SINCE)
    .order_by(jobs.c.finished_at)
    .limit(_LIMIT)
)
_is_needed = exists(select(jobs.c.id).where(*_OWNER, jobs.c.finished_at.is_(None)))
# Pieces of deleted and failed jobs.
_LEFTOVER = Statement(
    select(job_pieces.c.company_id, job_pieces.c.job_id, job_pieces.c.number).where(~_is_needed).limit(_LIMIT)
)
_DELETE_PIECES = Statement(
    delete(job_pieces).where(_OF_PIECE, job_pieces.c.number == any_(bindparam("numbers", type_=ARRAY(Integer))))
)
_DELETE_ERRORS = Statement(delete(job_errors).where(_OF_ERRORS))


def insert_job(
    connection: Connection, company_id: UUID, job_id: UUID, promo_id: UUID, kind: str, options: Mapping[str, Any], *,
    maximum: int,
) -> bool | None:  # fmt: skip
    """Insert a job that is not queued yet, in a transaction; None: the company is closed, False: it has `maximum`."""
    values = {"company": company_id, "job": job_id, "promo": promo_id, "new_kind": kind}
    if _LOCK_COMPANY.row(connection, values) is None:
        return None
    if _COUNT_UNFINISHED.value(connection, values) >= maximum:
        return False
    _INSERT.count(connection, {**values, "new_options": as_json(options)})
    return True


def insert_piece(connection: Connection, company_id: UUID, job_id: UUID, number: int, content: bytes) -> None:
    """Store a piece of the file of a job; the first has number 1."""
    _INSERT_PIECE.count(connection, {"company": company_id, "job": job_id, "piece": number, "bytes": content})


def close_upload(connection: Connection, company_id: UUID, job_id: UUID, steps: int) -> Job | None:
    """Let the work begin; None: the job was deleted, because its upload had stopped."""
    row = _CLOSE_UPLOAD.row(connection, {"company": company_id, "job": job_id, "new_steps": steps})
    return None if row is None else Job(*row)


def find_job(connection: Connection, company_id: UUID, job_id: UUID) -> Job | None:
    """Return a job of the company."""
    row = _FIND.row(connection, {"company": company_id, "job": job_id})
    return None if row is None else Job(*row)


def list_jobs(connection: Connection, company_id: UUID, *, limit: int, after: Key | None) -> Page[Job]:
    """Return a page of the jobs of the company, newest first."""
    values = {"company": company_id, "limit": limit + 1}
    if after is None:
        rows = _FIRST.rows(connection, values)
    else:
        rows = _AFTER.rows(connection, {**values, "after_created_at": after[0], "after_id": after[1]})
    return uncounted_page([Job(*row) for row in rows], limit, lambda job: [job.created_at, job.id])


def list_due_jobs(connection: Connection, *, limit: int) -> list[tuple[UUID, UUID]]:
    """Return the company and id of the first unfinished job of each promo."""
    return [(company_id, job_id) for company_id, job_id in _DUE.rows(connection, {"limit": limit})]


def claim_job(connection: Connection, company_id: UUID, job_id: UUID) -> Job | None:
    """Lock a job in a transaction; None: it is locked or finished."""
    row = _CLAIM.row(connection, {"company": company_id, "job": job_id})
    return None if row is None else Job(*row)


def claim_piece(connection: Connection, job: Job, number: int) -> bytes:
    """Delete a piece of the file and return it."""
    content: bytes = _CLAIM_PIECE.value(connection, {"company": job.company_id, "job": job.id, "piece": number})
    return content


def update_job(connection: Connection, job: Job, chunk: Chunk) -> None:
    """Add a chunk to the counts and the progress of a job."""
    counts = {f"more_{name}": getattr(chunk, name) for name in ("received", "accepted", "duplicates", "rejected")}
    values = {
        "company": job.company_id,
        "job": job.id,
        "more_steps": chunk.steps,
        "new_progress": None if chunk.progress is None else as_json(chunk.progress),
    }
    _UPDATE.count(connection, {**values, **counts})


def insert_errors(connection: Connection, job: Job, number: int, lines: Sequence[int], reasons: Sequence[str]) -> None:
    """Record the rejected rows of a piece."""
    values = {"company": job.company_id, "job": job.id, "piece": number}
    _INSERT_ERRORS.count(connection, {**values, "new_lines": [*lines], "new_reasons": [*reasons]})


def list_errors(connection: Connection, job: Job, *, after: int) -> RejectedRows | None:
    """Return the rejected rows of the next piece that has any; None: there is none."""
    row = _ERRORS.row(connection, {"company": job.company_id, "job": job.id, "piece": after, "limit": 1})
    return None if row is None else RejectedRows(*row)


def close_job(connection: Connection, job: Job, failure: str | None = None) -> None:
    """Record the success of a job, or its failure."""
    _CLOSE.count(connection, {"company": job.company_id, "job": job.id, "reason": failure})


def update_attempts(connection: Connection, job: Job, pause: timedelta) -> None:
    """Count a failed attempt of a job, and let it wait before the next attempt."""
    _UPDATE_ATTEMPTS.count(connection, {"company": job.company_id, "job": job.id, "pause": pause})


def delete_job(connection: Connection, company_id: UUID, job_id: UUID) -> None:
    """Delete a job that is not running, and its rejected rows. `delete_leftover_pieces` deletes its file."""
    values = {"company": company_id, "job": job_id}
    if _DELETE.count(connection, values):
        _DELETE_ERRORS.count(connection, values)


def list_abandoned_jobs(connection: Connection, since: datetime, *, limit: int) -> list[tuple[UUID, UUID]]:
    """Return jobs whose upload has not ended, and has stored nothing since this time."""
    return [(row[0], row[1]) for row in _ABANDONED.rows(connection, {"since": since, "limit": limit})]


def list_old_jobs(connection: Connection, since: datetime, *, limit: int) -> list[tuple[UUID, UUID]]:
    """Return jobs that finished before this time."""
    return [(row[0], row[1]) for row in _OLD.rows(connection, {"since": since, "limit": limit})]


def delete_leftover_pieces(connection: Connection, *, limit: int) -> int:
    """Delete pieces of jobs that do not need them any more, and return how many."""
    numbers: dict[tuple[UUID, UUID], list[int]] = {}
    for company_id, job_id, number in _LEFTOVER.rows(connection, {"limit": limit}):
        numbers.setdefault((company_id, job_id), []).append(number)
    return sum(
        _DELETE_PIECES.count(connection, {"company": company_id, "job": job_id, "numbers": of_job})
        for (company_id, job_id), of_job in numbers.items()
    )
