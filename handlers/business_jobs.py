"""The jobs of a company."""

import csv
from collections.abc import Iterator
from datetime import datetime
from io import StringIO
from uuid import UUID

import orjson

from handlers import Body, Headers
from handlers.cursor_pages import cursor_page
from handlers.serializers import serialize_job
from persistence.accounts.companies import Company
from persistence.jobs import Job, find_job, list_errors, list_jobs as list_company_jobs
from promo_api.code_jobs.code_rules import describe_reason
from promo_api.code_jobs.rows import CSV
from promo_api.contract.streams import StreamedResponse
from promo_api.errors import NotFound
from promo_api.runtime import Runtime

_COLUMNS = ("line", "reason", "message")


def get_job(runtime: Runtime, company: Company, *, id: UUID) -> Body:
    """Return a job."""
    return serialize_job(_find_job(runtime, company, id))


def list_jobs(
    runtime: Runtime, company: Company, *, limit: int, cursor: str | None = None
) -> tuple[list[Body], int, Headers]:
    """List the jobs, newest first."""

    def read(after: tuple[str, str] | None, count: int) -> list[Job]:
        before = (datetime.fromisoformat(after[0]), UUID(after[1])) if after else None
        with runtime.database.autocommit() as connection:
            return list_company_jobs(connection, company.id, limit=count, before=before)

    entries, headers = cursor_page(
        runtime, company, "business_jobs.list_jobs", {}, limit, cursor, read, lambda job: (job.created_at, job.id)
    )
    return [serialize_job(job) for job in entries], 200, headers


def list_job_errors(runtime: Runtime, company: Company, *, id: UUID, media_type: str) -> StreamedResponse:
    """Return the rejected rows of a job, in the order of their lines."""
    pages = _read_errors(runtime, _find_job(runtime, company, id))
    return StreamedResponse(media_type, _to_csv(pages) if media_type == CSV else _to_ndjson(pages))


def _find_job(runtime: Runtime, company: Company, job_id: UUID) -> Job:
    with runtime.database.autocommit() as connection:
        job = find_job(connection, company.id, job_id)
    if job is None:
        raise NotFound.job()
    return job


def _read_errors(runtime: Runtime, job: Job) -> Iterator[list[Body]]:
    number = 0
    while True:
        with runtime.database.autocommit() as connection:
            page = list_errors(connection, job, after=number)
        if page is None:
            return
        number, errors = page
        yield [{"line": line, "reason": reason, "message": describe_reason(reason)} for line, reason in errors]


def _to_csv(pages: Iterator[list[Body]]) -> Iterator[bytes]:
    yield ",".join(_COLUMNS).encode() + b"\r\n"
    for errors in pages:
        file = StringIO()
        csv.writer(file).writerows([error[name] for name in _COLUMNS] for error in errors)
        yield file.getvalue().encode()


def _to_ndjson(pages: Iterator[list[Body]]) -> Iterator[bytes]:
    for errors in pages:
        yield b"".join(orjson.dumps(error, option=orjson.OPT_APPEND_NEWLINE) for error in errors)
