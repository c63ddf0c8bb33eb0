"""Messages about the values of api.yml: the fault, then the rule."""

from collections.abc import Iterator
from typing import Any

from promo_api.contract.schemas import compile_schema
from tests.cases import all_cases
from tests.operations import OPERATIONS
from tests.specification import specification

SCHEMAS = specification()["components"]["schemas"]
_BEGINNINGS = ("must ", "is ", "has ")


def _nodes(node: Any, seen: set[str]) -> Iterator[dict[str, Any]]:
    """Yield a schema and the schemas in it, through references."""
    if isinstance(node, list):
        for item in node:
            yield from _nodes(item, seen)
    elif isinstance(node, dict):
        yield node
        reference = node.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            seen.add(reference)
            _, _, kind, name = reference.split("/")
            yield from _nodes(specification()["components"][kind][name], seen)
        for name, value in node.items():
            yield from () if name in ("example", "examples", "x-violation") else _nodes(value, seen)


def _request_schemas() -> list[dict[str, Any]]:
    """Return the schemas of all parts of requests."""
    parts = [[each.declared.get("parameters", []), each.declared.get("requestBody", {})] for each in OPERATIONS]
    return list(_nodes(parts, set()))


def _x_violations() -> list[tuple[dict[str, Any], list[dict[str, str]]]]:
    return [
        (schema, schema["x-violation"]) for schema in _request_schemas() if isinstance(schema.get("x-violation"), list)
    ]


def _message(schema: str, value: Any) -> str:
    """Return the message of the only violation."""
    (violation,) = compile_schema(SCHEMAS[schema]).violations(value, "body")
    assert violation.pointer == ""
    return violation.message


def test_every_pattern_has_a_message() -> None:
    """No client gets a regular expression as a message."""
    patterns = [schema for schema in _request_schemas() if isinstance(schema.get("pattern"), str)]
    assert len(patterns) > 10
    assert [schema for schema in patterns if "x-violation" not in schema] == []


def test_messages_about_faults() -> None:
    """Of the faults of an `x-violation` only the last has no pattern, and a valid value has none of them."""
    assert len(_x_violations()) > 3
    for schema, entries in _x_violations():
        assert ["pattern" in entry for entry in entries] == [True] * (len(entries) - 1) + [False]
        assert all(entry["message"].startswith(_BEGINNINGS) for entry in entries)
        for entry in entries[:-1]:
            assert (
                compile_schema({"type": "string", "pattern": entry["pattern"]}).violations(schema["example"], "") == []
            )


@all_cases(
    ("value", "message"),
    [
        ("", "must be a date such as 2025-01-31"),
        ("31.01.2025", "must be a date such as 2025-01-31"),
        ("2025-1-1", "must be a date such as 2025-01-31"),
        ("2025-01-10T00:00:00Z", "must be a date such as 2025-01-31"),
        ("2025-02-30", "is not a date of the calendar"),
        ("2025-13-01", "is not a date of the calendar"),
        ("0000-01-01", "is not a date of the calendar"),
        (20250131, "must be a string"),
    ],
)
def test_dates(value: Any, message: str) -> None:
    """The message about a date has its form, or says that the calendar does not have it."""
    assert _message("CalendarDate", value) == message


_SCHEME = "must begin with http:// or https://"
_HOST = "must have a host after http:// or https://"
_NAME = "must have a host that is a name or an IPv4 address"
_PORT = "must have a port of 1 to 5 digits after the colon, or none"
_ASCII = "must contain ASCII characters only; percent-encode others, and write the host in Punycode"
_BLANK = "must not contain blanks or line breaks; write a blank as %20"
_PERCENT = "must have two hexadecimal digits after each %; write % as %25"
_OTHER = "must be an http or https URL; percent-encode characters that a URL must not contain"


@all_cases("schema", ["AvatarUrl", "ImageUrl"])
@all_cases(
    ("value", "message"),
    [
        ("", _SCHEME),
        ("example.com/a.png", _SCHEME),
        ("//example.com/a.png", _SCHEME),
        ("localhost:8080/a.png", _SCHEME),
        ("ftp://example.com", _SCHEME),
        ("javascript:alert(1)", _SCHEME),
        ("http://", _HOST),
        ("https:///a.png", _HOST),
        ("http:example.com", _HOST),
        ("http://example.com/a b.png", _BLANK),
        (" http://example.com", _BLANK),
        ("http://example.com\n", _BLANK),
        ("http://exämple.com/", _ASCII),
        ("https://example.com/é.png", _ASCII),
        ("https://example.com/100%", _PERCENT),
        ("https://example.com/%zz", _PERCENT),
        ("https://ann:secret@example.com/", "must not contain a user name or a password"),
        ("https://ann@example.com/", "must not contain a user name or a password"),
        ("https://[::1]/", _NAME),
        ("https://a_b.example/", _NAME),
        ("https://-a.example/", _NAME),
        ("https://example..com/", _NAME),
        (f"https://{'a' * 64}.example/", _NAME),
        ("https://example.com:http/", _PORT),
        ("https://example.com:123456/", _PORT),
        ("https://example.com/<b>", _OTHER),
        ("https://example.com/#a#b", _OTHER),
        ("https://example.com/" + "a" * 400, "must have at most 350 characters"),
        ("https://example.com/" + "%20" * 5000, "must have at most 350 characters"),
        (5, "must be a string"),
    ],
)
def test_urls(schema: str, value: Any, message: str) -> None:
    """The message about a URL says what is wrong with it."""
    assert _message(schema, value) == message


@all_cases(
    ("value", "message"),
    [
        ("", "must have one @ between two parts, as in ann@example.com"),
        ("example.com", "must have one @ between two parts, as in ann@example.com"),
        ("ann@bob@example.com", "must have one @ between two parts, as in ann@example.com"),
        ("ann@example", "must have a domain with a dot, as in ann@example.com"),
        ("ann lee@example.com", "must not contain blanks or line breaks"),
        ("änn@example.com", "must contain ASCII characters only; write the domain in Punycode"),
        ("ann@exämple.com", "must contain ASCII characters only; write the domain in Punycode"),
        (f"{'a' * 65}@example.com", "must have at most 64 characters before the @"),
        ("ann@example..com", "must be an e-mail address such as ann@example.com"),
        ("ann@127.0.0.1", "must be an e-mail address such as ann@example.com"),
        ("ann@example." + "com." * 40 + "com", "must have at most 120 characters"),
    ],
)
def test_emails(value: str, message: str) -> None:
    """The message about an e-mail address says what is wrong with it."""
    assert _message("Email", value) == message


@all_cases("value", ["", "r", "rus", "aa", "uk", "ЁЁ", "Russia"])
def test_countries(value: str) -> None:
    """The message about a country names the standard, for texts of any length."""
    assert _message("Country", value) == "must be an officially assigned country code of ISO 3166-1 alpha-2, such as ru"


@all_cases("value", ["", "a b", "é", "\x7f"])
def test_idempotency_keys(value: str) -> None:
    """The message about an idempotency key has the whole rule."""
    schema = specification()["components"]["parameters"]["IdempotencyKey"]["schema"]
    (violation,) = compile_schema(schema).violations(value, "header")
    assert violation.message == "must be 1 to 255 visible ASCII characters"
