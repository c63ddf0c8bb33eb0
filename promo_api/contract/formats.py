"""Strict checks of string formats; common checkers accept too much."""

import re
from collections.abc import Callable
from datetime import date, datetime
from unicodedata import category

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-5][0-9])"
)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_EMAIL = re.compile(rf"{_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")

# Fast: the 5,000 codes of a promo are checked on the event loop.
_VISIBLE_ASCII = re.compile("[!-~]")
# The categories of Unicode without a shape: controls, formats, marks and separators.
_INVISIBLE = ("Cc", "Cf", "Mc", "Me", "Mn", "Zl", "Zp", "Zs")
# Letters, symbols and reserved code points that are shown as a blank or not at all.
_BLANK = frozenset("\u115f\u1160\u2065\u2800\u3164\uffa0\U0001d159").union(
    map(chr, range(0xFFF0, 0xFFF9)), map(chr, range(0xE0000, 0xE1000))
)


def _has_visible_character(text: str) -> bool:
    """Return whether a text that is not empty has a character that can be seen."""
    if _VISIBLE_ASCII.search(text) or not text:
        return True
    return any(category(character) not in _INVISIBLE and character not in _BLANK for character in text)


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None and _parses(date.fromisoformat, text)


def _is_date_time(text: str) -> bool:
    return _DATE_TIME.fullmatch(text) is not None and _parses(datetime.fromisoformat, text.upper())


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


# By name, for jsonschema-rs.
FORMATS: dict[str, Callable[[str], bool]] = {
    "uuid": _matches(_UUID),
    "date": _is_date,
    "date-time": _is_date_time,
    "email": _matches(_EMAIL),
    "uri": _matches(_URI),
    "visible-text": _has_visible_character,
}
