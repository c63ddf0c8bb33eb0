"""The jobs of a company."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from handlers import Body
from handlers.pages import PageRequest, paged, serialize_page
from handlers.serializers import serialize_job
from handlers.streamed_rows import stream_rows
from persistence.accounts.companies import Company
from persistence.jobs import Job, find_job, list_errors, list_jobs as list_company_jobs
from persistence.pages import Page
from promo_api.code_jobs.code_rules import describe_reason
from promo_api.contract.streams import StreamedResponse
from promo_api.errors import NotFound
from promo_api.runtime import Runtime

_COLUMNS = ("line", "reason", "message")


def get_job(runtime: Runtime, company: Company, *, id: UUID) -> Body:
    """Return a job."""
    return serialize_job(_find_job(runtime, company, id))


@paged
def list_jobs(runtime: Runtime, company: Company, *, page: PageRequest) -> Page[Body]:
    """List the jobs, newest first."""
    with runtime.database.autocommit() as connection:
        jobs = list_company_jobs(connection, company.id, limit=page.limit, after=page.after)
    runtime.replicas.record_write(company.id)
    return serialize_page(jobs, serialize_job)


def list_job_errors(runtime: Runtime, company: Company, *, id: UUID, media_type: str) -> StreamedResponse:
    """Return the rejected rows of a job, in the order of their lines."""
    return stream_rows(media_type, _COLUMNS, _read_errors(runtime, _find_job(runtime, company, id)), _serialize)


def _find_job(runtime: Runtime, company: Company, job_id: UUID) -> Job:
    with runtime.database.autocommit() as connection:
        job = find_job(connection, company.id, job_id)
    if job is None:
        raise NotFound.job()
    # A replica must not be behind what the job is said to have done.
    runtime.replicas.record_write(company.id)
    return job


def _read_errors(runtime: Runtime, job: Job) -> Iterator[Iterable[tuple[int, str]]]:
    """Yield the rejected rows of each piece of the file, in short statements: a client may be slow."""
    piece = 0
    while True:
        with runtime.database.autocommit() as connection:
            rejected = list_errors(connection, job, after=piece)
        if rejected is None:
            return
        piece = rejected.piece
        yield zip(rejected.lines, rejected.reasons, strict=True)


def _serialize(rejected: tuple[int, str]) -> Body:
    line, reason = rejected
    return {"line": line, "reason": reason, "message": describe_reason(reason)}
