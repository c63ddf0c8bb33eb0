"""Which codes are allowed: the schema UniqueCode of api.yml."""

from collections.abc import Sequence
from typing import Any

from promo_api.contract.schemas import compile_schema
from promo_api.specification import UNIQUE_CODE

# Blanks around codes that programs add.
BLANKS = " \t\u00a0\u3000\ufeff"

_REASONS = {
    "minLength": "too_short",
    "maxLength": "too_long",
    "pattern": "invalid_characters",
    "format": "invalid_characters",
}
_RULES = {
    keyword: compile_schema({name: UNIQUE_CODE[name] for name in ("type", keyword, "x-violation")})
    for keyword in _REASONS
}
_CODE, _CODES = compile_schema(UNIQUE_CODE), compile_schema({"type": "array", "items": UNIQUE_CODE})
# A code that breaks each rule, for its message.
_BROKEN = {"too_short": "", "too_long": "A" * (UNIQUE_CODE["maxLength"] + 1)}
_MESSAGES = {
    "invalid_characters": "must be visible text without control characters",
    "invalid_json": "must be a JSON string, or a JSON object with a string `code`",
    "invalid_quotes": "has a quotation mark that is not closed, or text after the closing one",
    "line_too_long": "must have at most {max_line_bytes} bytes",
    "missing_code": "must have a code",
    "not_utf8": "must be UTF-8",
    "too_many_columns": "must have one column, or the first line must name the column `code`",
}
REASONS = (*_BROKEN, *_MESSAGES)
MAX_LINE_BYTES = 8192


def find_reason(code: str) -> str | None:
    """Return why a code is not allowed; None if it is."""
    return next((_REASONS[keyword] for keyword, rule in _RULES.items() if rule.violations(code, "")), None)


def are_valid(codes: Sequence[str]) -> bool:
    """Return whether all codes are allowed, faster than `find_reason`."""
    return not _CODES.violations(codes, "")


def describe_violation(code: Any) -> str | None:
    """Return the violated rule as a message; None if the code is allowed."""
    violations = _CODE.violations(code, "")
    return violations[0].message if violations else None


def describe_reason(reason: str) -> str:
    """Return the message for people about the rows that are rejected for this reason."""
    if reason in _BROKEN:
        return str(describe_violation(_BROKEN[reason]))
    return _MESSAGES[reason].format(max_line_bytes=MAX_LINE_BYTES)
