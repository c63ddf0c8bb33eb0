"""The codes of a UNIQUE promo: uploads, generation and lists."""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import wraps
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import orjson

from handlers import Body, Headers
from handlers.cursor_pages import cursor_page
from handlers.idempotency import Upload, connect, idempotent, idempotent_upload, store_responses
from handlers.serializers import serialize_code, serialize_job
from persistence.accounts.companies import Company
from persistence.idempotency import IdempotencyKey
from persistence.jobs import delete_job, insert_job, insert_piece, queue_job
from persistence.promos.codes import Code, list_codes as list_promo_codes
from persistence.promos.promos import find_promo
from promo_api.code_jobs.patterns import DEFAULT_ALPHABET, PLACEHOLDER, Pattern
from promo_api.code_jobs.rows import CSV, NDJSON, count_lines
from promo_api.code_jobs.runner import GENERATE, IMPORT, PIECE_BYTES
from promo_api.contract.streams import StreamedResponse
from promo_api.errors import (
    InvalidInput,
    NotFound,
    NotOwner,
    RequestError,
    ServiceUnavailable,
    TooManyJobs,
    Unauthenticated,
)
from promo_api.runtime import Runtime
from promo_api.specification import MAX_NEW_CODES, PATHS

_UNFINISHED_MAX = 10
_STREAMED = 5000
_OTHER_ENCODINGS = (b"\xff\xfe", b"\xfe\xff", b"\x00")
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
        steps = _store(runtime, company.id, job_id, body)
        return _queue(runtime, company, job_id, steps, body.sign(key))
    except BaseException:
        with suppress(RequestError), runtime.database.transaction() as connection:
            delete_job(connection, company.id, job_id)
        raise


@_located
@idempotent
def generate_codes(
    runtime: Runtime, company: Company, *, id: UUID, body: Body, key: IdempotencyKey | None
) -> tuple[Body, int]:
    """Let a job generate codes."""
    pattern = Pattern(body["pattern"], body.get("alphabet", DEFAULT_ALPHABET))
    _check_pattern(pattern, body["count"])
    options = {"pattern": pattern.text, "alphabet": pattern.alphabet}
    job_id = _create_job(runtime, company, id, GENERATE, options)
    return _queue(runtime, company, job_id, body["count"], key)


def list_codes(
    runtime: Runtime,
    company: Company,
    *,
    id: UUID,
    limit: int,
    media_type: str,
    state: str | None = None,
    cursor: str | None = None,
) -> tuple[Any, int, Headers]:
    """List codes of a promo, or return all as a stream."""
    _check_promo(runtime, company, id)
    if media_type != "application/json":
        codes = _read_codes(runtime, id, state)
        return StreamedResponse(media_type, _to_csv(codes) if media_type == CSV else _to_ndjson(codes)), 200, {}

    def read(after: tuple[int] | None, count: int) -> list[Code]:
        with runtime.database.autocommit() as connection:
            return list_promo_codes(connection, id, state=state, after=after[0] if after else 0, limit=count)

    entries, headers = cursor_page(
        runtime,
        company,
        "business_codes.list_codes",
        {"id": str(id), "state": state},
        limit,
        cursor,
        read,
        lambda code: (code.position,),
    )
    return [serialize_code(code) for code in entries], 200, headers


def _create_job(runtime: Runtime, company: Company, promo_id: UUID, kind: str, options: Body) -> UUID:
    if _check_promo(runtime, company, promo_id) != "UNIQUE":
        raise InvalidInput("Only UNIQUE promos have a list of codes.", code="promo_not_unique")
    job_id = uuid4()
    with runtime.database.transaction() as connection:
        inserted = insert_job(connection, company.id, job_id, promo_id, kind, options, maximum=_UNFINISHED_MAX)
    if inserted is None:
        raise Unauthenticated.account_deleted()
    if not inserted:
        raise TooManyJobs(f"The company has {_UNFINISHED_MAX} unfinished jobs. Wait until one has finished.")
    return job_id


def _queue(
    runtime: Runtime, company: Company, job_id: UUID, steps: int, key: IdempotencyKey | None
) -> tuple[Body, int]:
    with connect(runtime, key) as connection:
        job = queue_job(connection, company.id, job_id, steps)
        if job is None:
            raise ServiceUnavailable("The upload took too long.", reason="an upload took longer than an hour")
        response = serialize_job(job), 202
        store_responses(connection, [(key, response)])
    return response


def _store(runtime: Runtime, company_id: UUID, job_id: UUID, chunks: Iterable[bytes]) -> int:
    """Store the file, and return the number of its pieces. No connection is held while the client sends."""
    number, lines = 0, 1
    for piece in _pieces(chunks):
        if number == 0 and (piece.startswith(_OTHER_ENCODINGS[:2]) or _OTHER_ENCODINGS[2] in piece[:4]):
            raise InvalidInput("The file is not UTF-8. Save it as UTF-8.", code="unsupported_encoding")
        lines += count_lines(piece)
        if lines > MAX_NEW_CODES + 1:
            raise InvalidInput(f"The file has more than {MAX_NEW_CODES} lines. Split it.", code="too_many_rows")
        number += 1
        with runtime.database.autocommit() as connection:
            insert_piece(connection, company_id, job_id, number, piece)
    if not number:
        raise InvalidInput.body("", "must not be empty")
    return number


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
            "that nobody can guess a code",
            code="pattern_too_short",
        )


def _check_promo(runtime: Runtime, company: Company, promo_id: UUID) -> str:
    """Return the mode of a promo of the company."""
    with runtime.database.autocommit() as connection:
        promo = find_promo(connection, promo_id, runtime.today())
    if promo is None:
        raise NotFound.promo()
    if promo.company_id != company.id:
        raise NotOwner("This promo belongs to another company.")
    return promo.mode


def _read_codes(runtime: Runtime, promo_id: UUID, state: str | None) -> Iterator[list[Code]]:
    """Yield all codes, in short statements: a client may be slow."""
    after = 0
    while True:
        with runtime.database.autocommit() as connection:
            codes = list_promo_codes(connection, promo_id, state=state, after=after, limit=_STREAMED)
        if not codes:
            return
        yield codes
        after = codes[-1].position


def _to_csv(pages: Iterable[list[Code]]) -> Iterator[bytes]:
    yield ",".join(_COLUMNS).encode() + b"\r\n"
    for codes in pages:
        file = StringIO()
        rows = map(serialize_code, codes)
        csv.writer(file).writerows([row.get(name, "") for name in _COLUMNS] for row in rows)
        yield file.getvalue().encode()


def _to_ndjson(pages: Iterable[list[Code]]) -> Iterator[bytes]:
    for codes in pages:
        yield b"".join(orjson.dumps(serialize_code(code), option=orjson.OPT_APPEND_NEWLINE) for code in codes)
