"""Lists that are returned whole, as a stream of lines: CSV or newline-delimited JSON."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO

import orjson

from handlers import Body
from promo_api.contract.streams import StreamedResponse

CSV = "text/csv"


def stream_rows(media_type: str, columns: Sequence[str], pages: Iterable[list[Body]]) -> StreamedResponse:
    """Return rows as a stream; `columns` are the columns of a CSV file, whose missing values are empty."""
    return StreamedResponse(media_type, _to_csv(columns, pages) if media_type == CSV else _to_json(pages))


def _to_csv(columns: Sequence[str], pages: Iterable[list[Body]]) -> Iterator[bytes]:
    yield ",".join(columns).encode() + b"\r\n"
    for rows in pages:
        file = StringIO()
        csv.writer(file).writerows([row.get(name, "") for name in columns] for row in rows)
        yield file.getvalue().encode()


def _to_json(pages: Iterable[list[Body]]) -> Iterator[bytes]:
    for rows in pages:
        yield b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
