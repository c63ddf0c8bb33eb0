"""Lists that are returned whole, as a stream of lines: CSV or newline-delimited JSON."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from io import StringIO
from typing import Any, TypeVar

import orjson

from handlers import Body
from promo_api.code_jobs.rows import CSV
from promo_api.contract.streams import StreamedResponse
from promo_api.short_turns import short_turns

_Entry = TypeVar("_Entry")


def stream_rows(
    media_type: str, columns: Sequence[str], pages: Iterable[Iterable[_Entry]], serialize: Callable[[_Entry], Body]
) -> StreamedResponse:
    """Return all entries as a stream; `columns` are the columns of a CSV file, whose missing values are empty."""
    header = _to_csv(columns, [dict(zip(columns, columns, strict=True))]) if media_type == CSV else b""
    write = partial(_to_csv, columns) if media_type == CSV else _to_json

    def chunks() -> Iterator[bytes]:
        yield header
        for entries in pages:
            with short_turns():
                chunk = write(map(serialize, entries))
            yield chunk

    return StreamedResponse(media_type, chunks())


def _to_csv(columns: Sequence[str], rows: Iterable[Body]) -> bytes:
    file = StringIO()
    csv.writer(file).writerows([_cell(row.get(name, "")) for name in columns] for row in rows)
    return file.getvalue().encode()


def _cell(value: Any) -> Any:
    """Return a value as in JSON: `str` of a time has no T."""
    return value.isoformat() if isinstance(value, datetime) else value


def _to_json(rows: Iterable[Body]) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
