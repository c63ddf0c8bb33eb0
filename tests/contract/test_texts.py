"""Texts of requests: which ones are refused, and the reason of each refusal."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from unicodedata import category

import pytest
from connexion.spec import Specification

from promo_api.app import SPECIFICATION
from promo_api.contract.schemas import compile_schema
from tests.cases import all_cases
from tests.operations import OPERATIONS

_BIDI_CONTROLS = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
_LINE_BREAKS = "\n\r\u2028\u2029"
_CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
# Texts that may have line breaks and tabs. A password to check may be any text.
# A scanner ends a code with a line break.
_TEXTS, _ANY = ("description", "text", "code"), ("password", "old_password")

CONTROL = "must not contain control characters or line breaks"
CONTROL_OF_TEXT = "must not contain control characters other than line breaks and tabs"
BIDI = "must not contain bidirectional control characters"
BLANK = "must not begin or end with a blank"
INVISIBLE = "must contain a visible character"
KINDS = "must contain a capital letter A-Z, a small letter a-z, a digit 0-9 and another character, such as !"


@cache
def _resolved() -> Any:
    return Specification.load(SPECIFICATION)


def _messages(schema: str, text: str) -> list[str]:
    return [each.message for each in compile_schema(_resolved()["components"]["schemas"][schema]).violations(text, "")]


def _strings() -> Iterator[tuple[str, Any]]:
    """Yield the name and the schema of each string that a request can contain, except enumerations."""
    for operation in OPERATIONS:
        declared = _resolved()["paths"][operation.path][operation.method.lower()]
        for parameter in declared.get("parameters", ()):
            yield from _strings_of(parameter["name"], parameter["schema"])
        if "requestBody" in declared:
            content = declared["requestBody"]["content"]
            yield from _strings_of("", content.get("application/json", {}).get("schema", {}))


def _strings_of(name: str, schema: Any) -> Iterator[tuple[str, Any]]:
    if schema.get("type") == "string" and "enum" not in schema:
        yield name, schema
    for member, part in schema.get("properties", {}).items():
        yield from _strings_of(member, part)
    for part in schema.get("oneOf", ()):
        yield from _strings_of(name, part)
    if "items" in schema:
        yield from _strings_of(name, schema["items"])


STRINGS = [(name, schema) for name, schema in _strings() if name not in _ANY or "pattern" in schema]


def test_there_are_strings() -> None:
    """The strings of all operations are tested."""
    names = {name for name, _ in STRINGS}
    assert names >= {"name", "surname", "email", "avatar_url", "image_url", "password", "country", "category"}
    assert names >= {"description", "text", "promo_common", "promo_unique", "categories", "Idempotency-Key"}


@all_cases(("name", "schema"), STRINGS)
def test_control_characters_are_refused(name: str, schema: Any) -> None:
    """No string accepts control characters, line breaks or bidirectional controls, except line breaks in texts."""
    validator = compile_schema(schema)
    text = schema.get("example", "2025-01-10" if schema.get("format") == "date" else "0b6f2d9e-3c1a-4f57")
    allowed = "\t\n\r\u2028\u2029" if name in _TEXTS else ""
    forbidden = {*_CONTROLS, *_BIDI_CONTROLS, *_LINE_BREAKS} - {*allowed}
    for character in forbidden:
        for changed in (text[:-1] + character, text[:5] + character + text[6:], character + text[1:]):
            assert validator.violations(changed, "body"), ascii(changed)
    for character in allowed:
        assert not validator.violations(text[:5] + character + text[6:], "body"), ascii(character)


@all_cases(("name", "schema"), STRINGS)
def test_a_visible_character_is_required(name: str, schema: Any) -> None:
    """No string consists of blanks and invisible characters."""
    length = max(schema.get("minLength", 1), min(schema.get("maxLength", 36), 36))
    for character in " \xa0\xad\u0301\u115f\u200b\u200d\u2800\u3164\ufe0f\U000e0041":
        assert compile_schema(schema).violations(character * length, "body"), (name, ascii(character))


@pytest.mark.parametrize("schema", ["Name", "Surname", "CompanyName", "Category", "CommonCode", "UniqueCode"])
@all_cases(
    ("text", "message"),
    [
        ("ab\ncde", CONTROL),
        ("abcde\n", CONTROL),
        ("abcd\te", CONTROL),
        ("abcd\x00e", CONTROL),
        ("abcd\x1b", CONTROL),
        ("abcd\x85e", CONTROL),
        ("abc\u2028de", CONTROL),
        ("abc\u2029de", CONTROL),
        ("abc\u202ede", BIDI),
        ("abc\u2066de\u2069", BIDI),
    ],
)
def test_reasons_of_a_line(schema: str, text: str, message: str) -> None:
    """A name, a category or a code is one line without controls, and each reason has its message."""
    assert _messages(schema, text) == [message]


@pytest.mark.parametrize("schema", ["Name", "Surname", "CompanyName"])
@pytest.mark.parametrize("text", ["   ", "\u200b\u200b", "\u3164\u2800", "\u0301\u0302", "\U000e0041\U000e0042"])
def test_reason_of_an_invisible_name(schema: str, text: str) -> None:
    """A name without a visible character is refused with one message."""
    assert _messages(schema, text) == [INVISIBLE]


@pytest.mark.parametrize("schema", ["Category", "CommonCode", "UniqueCode"])
@pytest.mark.parametrize("blank", [*" \xa0\u1680\u2003\u200b\u202f\u205f\u2060\u2800\u3000\u3164\ufeff"])
def test_blanks_around_a_code(schema: str, blank: str) -> None:
    """A category or a code neither begins nor ends with a blank, and may have blanks inside."""
    assert _messages(schema, f"{blank}abcde") == [BLANK]
    assert _messages(schema, f"abcde{blank}") == [BLANK]
    assert _messages(schema, f"ab{blank}cde") == []
    assert _messages(schema, blank * 5) == [BLANK]


@all_cases(
    ("text", "messages"),
    [
        ("a text\r\nof\n\ttwo lines", []),
        ("\n a text \n", []),
        ("a text of\u2028two lines", []),
        ("a long text\x00", [CONTROL_OF_TEXT]),
        ("a long text\x0b", [CONTROL_OF_TEXT]),
        ("a long\x85text", [CONTROL_OF_TEXT]),
        ("a long text\u202e", [BIDI]),
        (" " * 20, [INVISIBLE]),
        ("\n" * 20, [INVISIBLE]),
    ],
)
@pytest.mark.parametrize("schema", ["PromoDescription", "CommentText"])
def test_reasons_of_a_text(schema: str, text: str, messages: list[str]) -> None:
    """A description or a comment may have line breaks and tabs, and each reason has its message."""
    assert _messages(schema, text) == messages


@pytest.mark.parametrize(
    "name",
    [
        "O\u2019Connor-Smith Jr.",
        "Нгуен Ёж",
        "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",  # Persian, with a zero-width non-joiner
        "\u0930\u094d\u200d\u092f",  # Devanagari, with a zero-width joiner
        "\u05d0\u200f!",  # Hebrew, with a right-to-left mark
        "\U0001f469\u200d\U0001f4bb\ufe0f",  # an emoji of two
        "Zu\u0308rich",
        "\u5f20",
        "Anna ",
    ],
)
def test_names_of_real_people(name: str) -> None:
    """Joiners, directional marks, emoji, decomposed letters and the blank that phones append are accepted."""
    assert _messages("Name", name) == _messages("Surname", name) == []


@pytest.mark.parametrize("name", ["HP", "Acme", "IKEA", "3M", "\u5c0f\u7c73", "Ы!"])
def test_short_names_of_companies(name: str) -> None:
    """A company name has at least two characters."""
    assert _messages("CompanyName", name) == []
    assert _messages("CompanyName", name[:1]) == ["must have at least 2 characters"]


@all_cases(
    ("password", "messages"),
    [
        *((password, []) for password in ("Passw0r!", "aA1@$!%*?&", "Pass w0rd", "Passw0rd#", "Passw0rd-^~\"'<>\\")),
        *((password, []) for password in ("Passwörd1", "Пароль 1Aa", "Pa55\u00a0word", "Pa55word\U0001f511")),
        *((password, []) for password in (" Passw0rd", "Passw0rd ", "\u4e2d\u6587Pa55Pa55", "A1!" + "a" * 57)),
        ("Passw0!", ["must have at least 8 characters"]),
        ("A1!" + "a" * 58, ["must have at most 60 characters"]),
        *((password, [KINDS]) for password in ("passw0rd!", "PASSW0RD!", "Password!", "Passw0rdd", "пароль 1A")),
        *((password, [KINDS]) for password in ("Пароль 1", "        ", "ÀÉÈÙàéè1")),
        *((f"Passw0rd!{character}", [CONTROL]) for character in "\x00\t\n\x1b\x7f\x85\u2028"),
        ("Passw0rd!\u202e", [BIDI]),
        ("", [KINDS]),
    ],
)
def test_passwords(password: str, messages: list[str]) -> None:
    """A password has 8 to 60 printable characters of four kinds; any character may be the fourth kind."""
    assert _messages("Password", password) == messages


_OLD_SYMBOLS = "@$!%*?&"


@pytest.mark.parametrize("symbol", _OLD_SYMBOLS)
def test_passwords_of_earlier_rules(symbol: str) -> None:
    """What earlier versions accepted is accepted."""
    for password in (f"Passw0r{symbol}", f"{symbol}1aA{symbol * 4}", f"aA1{symbol}" * 15):
        assert _messages("Password", password) == []


VALID_EMAILS = [
    "a@b.co",
    "x@q.io",
    "ann@example.com",
    "ann.lee+promo-codes@mail.example.co.uk",
    "ANN@EXAMPLE.COM",
    "first_last@sub-domain.example.museum",
    "1234567890@123.com",
    "o'hara@example.ie",
    "a@b-c.de",
    "a@1.fr",
    "ann@xn--e1afmkfd.xn--p1ai",
    "ann@example.xn--fiqs8s",
    "ann@example.XN--P1AI",
    "ann@example.xn--vermgensberatung-pwb",
    "ann@xn--80ak6aa92e.com",
    f"{'a' * 64}@{'d' * 51}.com",
]
INVALID_EMAILS = [
    "",
    "a@b.c",
    "ab@cd",
    "a@b..co",
    "a@.b.co",
    "a@b.co.",
    "@b.com",
    "a@@b.com",
    ".a@b.com",
    "a.@b.com",
    "a..b@c.com",
    "a b@c.com",
    "a@b c.com",
    "a@-b.com",
    "a@b-.com",
    "a@b_c.com",
    "a@b.c0m",
    "a@b.123",
    "a@127.0.0.1",
    "a@[127.0.0.1]",
    "a@b.xn--",
    "a@b.xn--a-",
    "a@b.xn-p1ai",
    "a@b.x--p1ai",
    f"a@b.xn--{'a' * 60}",
    f"a@b.{'c' * 64}",
    f"{'a' * 65}@b.com",
    "а@b.com",  # noqa: RUF001 Cyrillic
    "a@пример.рф",
    "a@b.com\n",
    "a@b.com\r\nBcc: c@d.com",
    "\ta@b.com",
    " a@b.com",
    "a@b.com ",
    "a@b.com\x00",
    "a\u202e@b.com",
    "a@b\u3002com",
    '"a b"@c.com',
    "Ann <a@b.com>",
    "a@b.com,c@d.com",
    "a@b.com;c@d.com",
    "mailto:a@b.com",
]


@all_cases("email", VALID_EMAILS)
def test_valid_emails(email: str) -> None:
    """Short addresses, tags, subdomains, digits and international domains in Punycode are accepted."""
    assert _messages("Email", email) == []


@all_cases("email", INVALID_EMAILS)
def test_invalid_emails(email: str) -> None:
    """Anything else is refused."""
    assert _messages("Email", email)


def _declared(schema: Any) -> list[str]:
    """Return the pattern of a schema and those of its x-violation."""
    violation = schema.get("x-violation", ())
    listed = [] if isinstance(violation, str) else [entry["pattern"] for entry in violation if "pattern" in entry]
    return [schema["pattern"], *listed]


# By pattern: the schemas with a list of reasons.
SELECTING = {
    schema["pattern"]: schema
    for _, schema in STRINGS
    if "pattern" in schema and isinstance(schema.get("x-violation"), list)
}


@all_cases("schema", SELECTING.values())
def test_listed_patterns_agree_with_the_pattern(schema: Any) -> None:
    """A character is refused by the pattern, at each position, if one of the listed patterns refuses it."""
    pattern, *listed = (compile_schema({"type": "string", "pattern": each}) for each in _declared(schema))
    around = "Aa1!b"
    for code in (*range(0x3100), 0x3164, *range(0xFE00, 0x10000), *range(0x1F000, 0x1F100), *range(0xE0000, 0xE0200)):
        for text in (chr(code) + around, around[:2] + chr(code) + around[2:], around + chr(code)):
            refused = any(each.violations(text, "") for each in listed)
            assert bool(pattern.violations(text, "")) == refused, ascii(text)


def test_patterns_of_texts_are_portable() -> None:
    """They have only classes, groups and escapes in capitals, which ECMA 262, Java, Python, Go and Rust share.

    Generators of Go clients translate such escapes. A password needs lookaheads, which Go does not have.
    """
    schemas = [schema for schema in SELECTING.values() if schema.get("format") == "visible-text"]
    patterns = {pattern for schema in schemas for pattern in _declared(schema)}
    for pattern in patterns:
        rest = re.sub(r"\\u[0-9A-F]{4}", "x", pattern)
        assert "\\" not in rest
        assert re.findall(r"\(\?.", rest) == ["(?:"] * rest.count("(")
        re.compile(pattern)
    assert len(patterns) > 5


def test_all_control_characters_are_tested() -> None:
    """The tested controls are those of Unicode."""
    assert set(_CONTROLS) == {chr(code) for code in range(0x110000) if category(chr(code)) == "Cc"}
