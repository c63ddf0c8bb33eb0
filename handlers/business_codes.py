"""The codes of a UNIQUE promo: uploads, generation and lists."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any
from uuid import UUID, uuid4

from handlers import Body, Headers
from handlers.idempotency import Upload, connect, idempotent, idempotent_upload, store_responses
from handlers.pages import PageRequest, paged, serialize_page
from handlers.promo_owners import check_owner, find_own_promo
from handlers.replica_reads import reads_replica
from handlers.serializers import serialize_code, serialize_job
from handlers.streamed_rows import stream_rows
from persistence.accounts.companies import Company
from persistence.idempotency import IdempotencyKey
from persistence.jobs import close_upload, delete_job, insert_job, insert_piece
from persistence.pages import Key, Page
from persistence.promos.codes import Code, list_codes as list_promo_codes
from persistence.promos.promos import find_promo_owner
from promo_api.code_jobs.patterns import DEFAULT_ALPHABET, PLACEHOLDER, Pattern
from promo_api.code_jobs.rows import CSV, NDJSON, count_lines
from promo_api.code_jobs.runner import GENERATE, IMPORT, PIECE_BYTES, UNFINISHED_MAX
from promo_api.contract.streams import StreamedResponse
from promo_api.errors import InvalidInput, ServiceUnavailable, TooManyJobs, Unauthenticated
from promo_api.runtime import Runtime
from promo_api.security.rate_limits import CODES
from promo_api.specification import MAX_NEW_CODES, PATHS

_log = logging.getLogger(__name__)

_STREAMED = 256
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# A file of UTF-16 or UTF-32 without a mark has a null byte in its first character.
_NULL, _UTF32_BYTES = b"\x00", 4
_COLUMNS = ("code", "position", "state", "issued_at", "country")


def _located(handler: Callable[..., Any]) -> Callable[..., tuple[Body, int, Headers]]:
    """Add the URL of the job to a response."""

    @wraps(handler)
    def respond(*arguments: Any, **request: Any) -> tuple[Body, int, Headers]:
        body, status, *rest = handler(*arguments, **request)
        location = PATHS["business_jobs.get_job"].format(id=body["id"])
        return body, status, {**(rest[0] if rest else {}), "Location": location}

    return respond


@_located
@idempotent_upload
def append_codes(
    runtime: Runtime, company: Company, *, id: UUID, body: Upload, on_duplicate: str, key: IdempotencyKey | None
) -> tuple[Body, int]:
    """Store a file of codes, and let a job import it."""
    options = {"media_type": CSV if body.media_type == CSV else NDJSON, "on_duplicate": on_duplicate}
    job_id = _create_job(runtime, company, id, IMPORT, options)
    try:
        steps, lines = _store(runtime, company.id, job_id, body)
        runtime.rate_limits.count_for(CODES, company.id, lines)
        return _queue(runtime, company, job_id, steps, body.sign(key))
    except Exception:
        _discard(runtime, company.id, job_id)
        raise


@_located
@idempotent
def generate_codes(
    runtime: Runtime, company: Company, *, id: UUID, body: Body, key: IdempotencyKey | None
) -> tuple[Body, int]:
    """Let a job generate codes."""
    pattern = Pattern(body["pattern"], body.get("alphabet", DEFAULT_ALPHABET))
    _check_pattern(pattern, body["count"])
    runtime.rate_limits.count_for(CODES, company.id, body["count"])
    options = {"pattern": pattern.text, "alphabet": pattern.alphabet}
    job_id = _create_job(runtime, company, id, GENERATE, options)
    return _queue(runtime, company, job_id, body["count"], key)


@paged
def list_codes(
    runtime: Runtime, company: Company, *, id: UUID, page: PageRequest, media_type: str, state: str | None = None
) -> Page[Body] | StreamedResponse:
    """List codes of a promo, or return all as a stream."""
    if media_type != "application/json":
        with runtime.database.autocommit() as connection:
            check_owner(find_promo_owner(connection, id), company)
        return stream_rows(media_type, _COLUMNS, _read_codes(runtime, id, state), serialize_code)
    return _list_page(runtime, company, promo_id=id, page=page, state=state)


@reads_replica
def _list_page(
    _runtime: Runtime, company: Company, *, promo_id: UUID, page: PageRequest, state: str | None, connection: Any
) -> Page[Body]:
    check_owner(find_promo_owner(connection, promo_id), company)
    codes = list_promo_codes(connection, promo_id, state=state, limit=page.limit, after=page.after)
    return serialize_page(codes, serialize_code)


def _create_job(runtime: Runtime, company: Company, promo_id: UUID, kind: str, options: Body) -> UUID:
    with runtime.database.autocommit() as connection:
        promo = find_own_promo(connection, promo_id, company, runtime.today())
    if promo.mode != "UNIQUE":
        raise InvalidInput("Only UNIQUE promos have a list of codes.", code="promo_not_unique")
    job_id = uuid4()
    with runtime.database.transaction() as connection:
        inserted = insert_job(connection, company.id, job_id, promo_id, kind, options, maximum=UNFINISHED_MAX)
    if inserted is None:
        raise Unauthenticated.account_deleted()
    if not inserted:
        raise TooManyJobs(f"The company has {UNFINISHED_MAX} unfinished jobs. Wait until one has finished.")
    return job_id


def _queue(
    runtime: Runtime, company: Company, job_id: UUID, steps: int, key: IdempotencyKey | None
) -> tuple[Body, int]:
    with connect(runtime, key) as connection:
        job = close_upload(connection, company.id, job_id, steps)
        if job is None:
            raise ServiceUnavailable("The upload took too long.", reason="an upload stored nothing for an hour")
        response = serialize_job(job), 202
        store_responses(connection, [(key, response)])
    return response


def _discard(runtime: Runtime, company_id: UUID, job_id: UUID) -> None:
    """Delete the job of an upload that failed. If this fails too, the sweeper `job_files` deletes it later."""
    try:
        with runtime.database.transaction() as connection:
            delete_job(connection, company_id, job_id)
    except ServiceUnavailable as error:
        _log.warning("upload_not_deleted", extra={"job": str(job_id), "reason": error.reason})


def _store(runtime: Runtime, company_id: UUID, job_id: UUID, chunks: Iterable[bytes]) -> tuple[int, int]:
    """Store the file, and return its numbers of pieces and of lines. No connection is held while the client sends."""
    number = line_breaks = 0
    for piece in _pieces(chunks):
        if number == 0 and (piece.startswith(_UTF16_MARKS) or _NULL in piece[:_UTF32_BYTES]):
            raise InvalidInput("The file is not UTF-8. Save it as UTF-8.", code="unsupported_encoding")
        line_breaks += count_lines(piece)
        if line_breaks > MAX_NEW_CODES + 1:
            raise InvalidInput(f"The file has more than {MAX_NEW_CODES} rows. Split it.", code="too_many_rows")
        number += 1
        with runtime.database.autocommit() as connection:
            insert_piece(connection, company_id, job_id, number, piece)
    if not number:
        raise InvalidInput.body("", "must not be empty")
    return number, line_breaks + 1


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= PIECE_BYTES:
            yield bytes(buffer[:PIECE_BYTES])
            del buffer[:PIECE_BYTES]
    if buffer:
        yield bytes(buffer)


def _check_pattern(pattern: Pattern, count: int) -> None:
    if PLACEHOLDER in pattern.alphabet or len(set(pattern.alphabet)) < len(pattern.alphabet):
        raise InvalidInput.body("/alphabet", f"must have each character once, and no {PLACEHOLDER}")
    if not pattern.has_valid_alphabet():
        raise InvalidInput.body("/alphabet", "must have visible characters only")
    needed = pattern.needed_placeholders(count)
    if pattern.placeholders < needed:
        raise InvalidInput.body(
            "/pattern",
            f"must have at least {needed} {PLACEHOLDER} for {count} codes of {len(pattern.alphabet)} characters, so "
            "that a code cannot be guessed",
            code="pattern_too_short",
        )


def _read_codes(runtime: Runtime, promo_id: UUID, state: str | None) -> Iterator[list[Code]]:
    """Yield all codes, in short statements: a client may be slow."""
    key: Key | None = None
    while True:
        with runtime.database.autocommit() as connection:
            codes = list_promo_codes(connection, promo_id, state=state, limit=_STREAMED, after=key)
        yield codes.entries
        key = codes.next_key
        if key is None:
            return
