"""The rows of an uploaded file, which arrives in pieces.

CSV as in RFC 4180: fields may be quoted, lines end with CRLF, LF or CR. The first row is a header if one of its cells
is `code`; its separator (comma, semicolon or tab) is then that of all rows. Without a header each row is one code: a
row with a separator outside of quotes is rejected, because it may belong to a file with several columns.

A file is UTF-8, with or without a byte order mark. Blank lines are no rows. Blanks around a code are removed. The rows
do not depend on where the pieces end.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from promo_api.code_jobs.code_rules import BLANKS, MAX_LINE_BYTES, are_valid, find_reason
from promo_api.folding import fold

CSV, NDJSON = "text/csv", "application/x-ndjson"

_UTF8_MARK = b"\xef\xbb\xbf"
_BLANKS_AFTER_QUOTE = {
    ",": re.compile('"[ \t]+(?=[,\n])'),
    ";": re.compile('"[ \t]+(?=[;\n])'),
    "\t": re.compile('" +(?=[\t\n])'),
}
_OTHER_SEPARATORS = [separator for separator in _BLANKS_AFTER_QUOTE if separator != ","]


@dataclass
class Rows:
    """The rows of a piece: the allowed codes in their order, and the line and reason of each rejected row."""

    codes: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def reject(self, line: int, reason: str) -> None:
        """Add a rejected row."""
        self.lines.append(line)
        self.reasons.append(reason)


@dataclass
class RowReader:
    """Reads the pieces of a file in turn. Its attributes are what the next piece needs, as JSON values.

    Attributes:
        rest: the unfinished row at the end of the last piece, as Latin-1.
        line: the number of its first line.
        skips: the rest of an overlong line is skipped.
        separator: of a CSV file.
        column: of the codes in a CSV file with a header.
        has_begun: the first row has been read.
    """

    media_type: str
    rest: str = ""
    line: int = 1
    skips: bool = False
    separator: str = ","
    column: int | None = None
    has_begun: bool = False

    def read(self, piece: bytes, *, is_last: bool) -> Rows:
        """Return the rows that this piece completes."""
        rows, data, held = Rows(), self.rest.encode("latin-1") + piece, b""
        while self.line == 1 and data.startswith(_UTF8_MARK):
            data = data.removeprefix(_UTF8_MARK)
        if data.endswith(b"\r") and not is_last:
            # The line feed may follow.
            data, held = data[:-1], b"\r"
        lines = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        tail = "" if is_last else lines.pop()
        if self.skips:
            self.skips = not lines
            tail = "" if self.skips else tail
            self.line += len(lines[:1])
            del lines[:1]
        parse = self._parse_csv if self.media_type == CSV else self._parse_json
        codes, done = parse(lines, None if is_last else tail, rows)
        self.line += done
        unfinished = "\n".join([*lines[done:], tail])
        if done == len(lines) and _is_too_long(tail):
            rows.reject(self.line, "line_too_long")
            unfinished, self.skips, self.has_begun = "", True, True
        self.rest = (_encode(unfinished) + held).decode("latin-1")
        _validate(codes, rows)
        return rows

    def _parse_csv(self, lines: Sequence[str], tail: str | None, rows: Rows) -> tuple[list[tuple[int, str]], int]:
        """Return the codes with their lines, and how many lines are done; `tail` is unfinished, None: the end."""
        codes: list[tuple[int, str]] = []
        done = 0
        while done < len(lines):
            text, number = lines[done], self.line + done
            if not text.strip(BLANKS):
                done += 1
                continue
            if _is_too_long(text):
                rows.reject(number, "line_too_long")
                self.has_begun = True
                done += 1
                continue
            record = _Record(lines, done, tail)
            cells = record.cells(self.separator)
            if not record.used:
                break
            done += record.used
            if not self.has_begun:
                self.has_begun = True
                if self._read_header(record, cells):
                    continue
            if cells is None:
                rows.reject(number, "invalid_quotes")
            elif self.column is None and (len(cells) > 1 or _has_columns(text)):
                rows.reject(number, "too_many_columns")
            else:
                column = self.column or 0
                code = cells[column].strip(BLANKS) if column < len(cells) else ""
                if code:
                    codes.append((number, code))
                else:
                    rows.reject(number, "missing_code")
        return codes, done

    def _read_header(self, record: "_Record", cells: list[str] | None) -> bool:
        for separator in _BLANKS_AFTER_QUOTE:
            names = cells if separator == self.separator else record.cells(separator)
            keys = [fold(name.strip(BLANKS)) for name in names or ()]
            if "code" in keys:
                self.separator, self.column = separator, keys.index("code")
                return True
        return False

    def _parse_json(self, lines: Sequence[str], _tail: str | None, rows: Rows) -> tuple[list[tuple[int, str]], int]:
        """Return the codes with their lines, and how many lines are done."""
        codes: list[tuple[int, str]] = []
        for number, text in enumerate(lines, self.line):
            if not text.strip(BLANKS):
                continue
            if _is_too_long(text):
                rows.reject(number, "line_too_long")
            elif _has_surrogates(text):
                rows.reject(number, "not_utf8")
            else:
                code = _read_json(text)
                if code is None:
                    rows.reject(number, "invalid_json")
                elif code:
                    codes.append((number, code))
                else:
                    rows.reject(number, "missing_code")
        return codes, len(lines)


class _Record:
    """The CSV record that begins at a line; quoted fields may contain line breaks."""

    def __init__(self, lines: Sequence[str], first: int, tail: str | None) -> None:
        self._lines = lines
        self._first = first
        self._tail = tail
        # The number of lines of the record; 0: it may continue in the next piece.
        self.used = 1

    def cells(self, separator: str) -> list[str] | None:
        """Return the cells; None if the quotes are invalid or not closed."""
        text = self._lines[self._first]
        if '"' not in text:
            return text.split(separator)
        self.used = 0
        self._is_open = self._is_cut = False
        reader = csv.reader(self._read(separator), delimiter=separator, strict=True, skipinitialspace=True)
        try:
            return next(reader)
        except csv.Error:
            self.used = 0 if self._is_open and not self._is_cut else 1
            return None

    def _read(self, separator: str) -> Iterator[str]:
        """Yield lines while a quote is open, but not more than one line may have."""
        size = 0
        for number in range(self._first, len(self._lines)):
            text = self._lines[number]
            size += len(_encode(text)) + 1
            if self.used and size > MAX_LINE_BYTES:
                self._is_cut = True
                return
            self.used += 1
            yield _BLANKS_AFTER_QUOTE[separator].sub('"', text + "\n")
        self._is_open = self._tail is not None
        self._is_cut = size + len(_encode(self._tail or "")) + 1 > MAX_LINE_BYTES


def count_lines(piece: bytes) -> int:
    """Count the line breaks of a piece."""
    return piece.count(b"\n") + piece.count(b"\r") - piece.count(b"\r\n")


def _read_json(text: str) -> str | None:
    """Return the code of a line; None if it has none."""
    try:
        value = orjson.loads(text.strip(BLANKS))
    except orjson.JSONDecodeError:
        return None
    code = value.get("code") if isinstance(value, dict) else value
    return code.strip(BLANKS) if isinstance(code, str) else None


def _validate(codes: Sequence[tuple[int, str]], rows: Rows) -> None:
    """Add the codes to the allowed codes or to the rejected rows, which stay in the order of their lines."""
    values = [code for _, code in codes]
    if not any(map(_has_surrogates, values)) and are_valid(values):
        rows.codes = values
        return
    for number, code in codes:
        reason = "not_utf8" if _has_surrogates(code) else find_reason(code)
        if reason is None:
            rows.codes.append(code)
        else:
            rows.reject(number, reason)
    rejected = sorted(zip(rows.lines, rows.reasons, strict=True))
    rows.lines, rows.reasons = [line for line, _ in rejected], [reason for _, reason in rejected]


def _has_columns(text: str) -> bool:
    """Return whether a line without quotes has another separator than a comma."""
    return '"' not in text and any(separator in text.strip(BLANKS) for separator in _OTHER_SEPARATORS)


def _is_too_long(text: str) -> bool:
    return len(text) > MAX_LINE_BYTES or (not text.isascii() and len(_encode(text)) > MAX_LINE_BYTES)


def _has_surrogates(text: str) -> bool:
    """Return whether the text has bytes that were not UTF-8."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
