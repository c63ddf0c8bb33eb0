"""Parameters: parsed strictly and once."""

from typing import Any
from uuid import UUID

import pytest

from promo_api.contract.parameters import Parameter, Query
from promo_api.errors import Violation
from tests.cases import all_cases
from tests.contract.sample_api import query

PARAMETERS = [
    query("number", {"type": "integer"}),
    query("few", {"type": "integer", "minimum": 0, "maximum": 5, "default": 3}),
    query("flag", {"type": "boolean"}),
    query("text", {"type": "string", "minLength": 1, "maxLength": 3}),
    query("id", {"type": "string", "format": "uuid"}),
    query("codes", {"type": "array", "minItems": 1, "maxItems": 4, "items": {"type": "string", "pattern": "^[a-z]+$"}}),
    query("numbers", {"type": "array", "items": {"type": "integer"}}),
]


def _read(text: str) -> tuple[dict[str, Any], list[Violation]]:
    arguments: dict[str, Any] = {}
    violations = Query([Parameter(declared) for declared in PARAMETERS]).read(text.encode("latin-1"), arguments)
    return arguments, violations


def _values(text: str) -> dict[str, Any]:
    arguments, violations = _read(text)
    assert violations == []
    assert arguments.pop("few") == 3
    return arguments


def _refusal(text: str) -> tuple[str, str]:
    _, violations = _read(text)
    assert [violation.location for violation in violations] == ["query"]
    return violations[0].pointer, violations[0].message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("7", 7),
        ("-7", -7),
        ("1000000", 10**6),
        ("9007199254740993", 9007199254740993),
        ("-0", 0),
        ("9" * 31, int("9" * 31)),
        ("9" * 4001, int("9" * 4001)),
    ],
)
def test_integers(text: str, value: int) -> None:
    """An integer is written as in JSON, and is exact."""
    assert _values(f"number={text}") == {"number": value}


@all_cases(
    "text",
    [
        "",
        "1_0",
        "%2B5",
        "+5",
        "01",
        "-01",
        "00",
        "%205",
        "5%20",
        "5%0A",
        "1.0",
        "1e3",
        "0x10",
        "--1",
        "-",
        "x",
        "%D9%A5",
        "null",
        "true",
        "9" * 5000,
    ],
)
def test_invalid_integers(text: str) -> None:
    """Other notations that Python accepts as an integer are refused."""
    assert _refusal(f"number={text}") == ("/number", "must be an integer, written as in JSON, such as 10")


@pytest.mark.parametrize("text", ["6", "-1", "9" * 31, "9" * 4000, "-" + "9" * 4000])
def test_integer_bounds(text: str) -> None:
    """The bounds of a parameter apply to integers of any length."""
    assert _refusal(f"few={text}") == ("/few", "must be at least 0" if text[0] == "-" else "must be at most 5")


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_booleans(text: str, value: bool) -> None:
    """A boolean is written as in JSON."""
    assert _values(f"flag={text}")["flag"] is value


@all_cases("text", ["", "TRUE", "True", "FALSE", "1", "0", "yes", "on", "true%20", "%20true", "true%0A", "t"])
def test_invalid_booleans(text: str) -> None:
    """Nothing else is a boolean."""
    assert _refusal(f"flag={text}") == ("/flag", "must be true or false")


@all_cases(
    ("text", "value"),
    [
        ("a", "a"),
        ("%61", "a"),
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("%D1%8F", "я"),
        ("a=b", "a=b"),
        ("%26", "&"),
        ("a;b", "a;b"),
        ("a,b", "a,b"),
        ("%0A", "\n"),
    ],
)
def test_texts(text: str, value: str) -> None:
    """A text is form-decoded once."""
    assert _values(f"text={text}") == {"text": value}


def test_characters_are_counted_after_decoding() -> None:
    """Three Cyrillic letters are three characters, not eighteen."""
    assert _values("text=%D1%8F%D1%8F%D1%8F") == {"text": "яяя"}
    assert _refusal("text=%D1%8F%D1%8F%D1%8F%D1%8F") == ("/text", "must have at most 3 characters")


@pytest.mark.parametrize("text", ["text=%", "text=%2", "text=%zz", "text=a%", "text=%%41", "%zz=1", "text=% 1", "a1=%"])
def test_malformed_percent_encoding(text: str) -> None:
    """A percent sign without an escape makes the query invalid; the pointer has the parameter."""
    pointer = "/text" if text.startswith("text") else ""
    assert _refusal(text) == (pointer, "has a % without two hexadecimal digits; write % as %25")


@pytest.mark.parametrize("text", ["text=%FF", "text=%C3", "text=%ED%A0%80", "text=%C0%80", "text=\xff", "%FF=1"])
def test_invalid_utf8(text: str) -> None:
    """Invalid UTF-8 is refused, escaped or not."""
    assert _refusal(text) == ("/text" if text.startswith("text") else "", "must be percent-encoded UTF-8")


def test_unescaped_utf8_is_accepted() -> None:
    """Unescaped UTF-8 is accepted."""
    assert _values("text=" + "я".encode().decode("latin-1")) == {"text": "я"}


@pytest.mark.parametrize("text", ["", "&", "&&&"])
def test_empty_query(text: str) -> None:
    """Without a query there are only defaults."""
    assert _values(text) == {}


@pytest.mark.parametrize(
    "text",
    [
        "number=1&number=1",
        "number=1&number=2",
        "number=&number=1",
        "flag=true&flag=true",
        "text=a&text=b",
        "number=1&n%75mber=2",
    ],
)
def test_repeated_scalars_are_refused(text: str) -> None:
    """A repeated parameter is refused."""
    assert _refusal(text) == (f"/{text.partition('=')[0]}", "must be given once")


@pytest.mark.parametrize(
    "text",
    ["codes=a&codes=b&codes=c", "codes=a,b,c", "codes=a,b&codes=c", "codes=a%2Cb,c", "codes=a&number=1&codes=b,c"],
)
def test_arrays(text: str) -> None:
    """An array parameter is repeated, comma-separated or both, and keeps its order."""
    assert _values(text)["codes"] == ["a", "b", "c"]


def test_array_of_one() -> None:
    """An array may have one element."""
    assert _values("codes=a&numbers=5") == {"codes": ["a"], "numbers": [5]}


@all_cases(
    ("text", "pointer"),
    [
        ("codes=", "/codes/0"),
        ("codes", "/codes/0"),
        ("codes=a,", "/codes/1"),
        ("codes=,a", "/codes/0"),
        ("codes=a,,b", "/codes/1"),
        ("codes=a&codes=", "/codes/1"),
        ("codes=a,B", "/codes/1"),
        ("codes=a,b,c,d,e", "/codes"),
        ("numbers=1,x", "/numbers"),
        ("numbers=1,", "/numbers"),
    ],
)
def test_invalid_elements_refuse_the_array(text: str, pointer: str) -> None:
    """Every element of an array is validated, also an empty one."""
    assert _refusal(text)[0] == pointer


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("nosuch=1", "/nosuch"),
        ("Number=1", "/Number"),
        ("no-such_name=1", "/no-such_name"),
        ("x" * 40 + "=1", "/" + "x" * 40),
        ("x" * 41 + "=1", ""),
        ("number%20=1", ""),
        ("=1", ""),
        ("<b>=1", ""),
        ("few[]=1", ""),
        ("number2=1", ""),
        ("n%C3%BAmber=1", ""),
        ("few[]=1&b%20=2&=3", ""),
    ],
)
def test_unknown_parameters(text: str, pointer: str) -> None:
    """An unknown parameter is refused with the allowed names, and once if its own name is not shown."""
    rule = "is not allowed; allowed are number, few, flag, text, id, codes, numbers"
    assert _refusal(text) == (pointer, rule if pointer else f"has a parameter that {rule}")


@pytest.mark.parametrize(
    ("names", "rule"),
    [([], "is not allowed"), (["q"], "is not allowed; allowed is q"), (["q", "r"], "is not allowed; allowed are q, r")],
)
def test_allowed_parameters(names: list[str], rule: str) -> None:
    """The message about an unknown parameter lists all allowed ones."""
    parameters = Query([Parameter(query(name, {"type": "string"})) for name in names])
    assert parameters.read(b"nosuch=1", {}) == [Violation("query", "/nosuch", rule)]


def test_all_violations_are_reported() -> None:
    """All invalid parameters are reported."""
    arguments, violations = _read("number=x&flag=x&few=9&text=ok&nosuch=1")
    assert [violation.pointer for violation in violations] == ["/nosuch", "/number", "/few", "/flag"]
    assert arguments == {"text": "ok"}


def test_values_are_not_repeated() -> None:
    """Messages do not repeat values."""
    _, violations = _read("number=hunter2&flag=hunter2&text=hunter2&id=hunter2&codes=HUNTER2&numbers=hunter2")
    assert len(violations) == 6
    assert "hunter2" not in repr(violations).lower()


def test_at_most_20_violations_of_a_query() -> None:
    """A response has at most twenty violations."""
    _, violations = _read("&".join(f"{'x' * n}=1" for n in range(1, 40)) + "&number=x")
    assert len(violations) == 20


def test_uuid_is_converted() -> None:
    """A handler gets a UUID, from text in any case."""
    text = "0B6F2D9E-3C1A-4F57-8E0D-2A9B7C4D1E63"
    assert _values(f"id={text}") == {"id": UUID(text)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "0b6f2d9e3c1a4f578e0d2a9b7c4d1e63",
        "{0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63}",
        "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63%0A",
    ],
)
def test_malformed_uuids(text: str) -> None:
    """Other notations that Python accepts as a UUID are refused."""
    assert _refusal(f"id={text}") == ("/id", "must be a UUID such as 0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63")


def test_required() -> None:
    """A missing required parameter is a violation, and so is an invalid value in spite of a default."""
    parameter = Parameter(query("must", {"type": "string"}, required=True))
    assert parameter.read([], {}) == [Violation("query", "/must", "is required")]


@pytest.mark.parametrize("default", [0, False, ""])
def test_default_may_be_falsy(default: object) -> None:
    """A default may be zero, false or empty."""
    kind = {int: "integer", bool: "boolean", str: "string"}[type(default)]
    arguments: dict[str, Any] = {}
    assert Parameter(query("p", {"type": kind, "default": default})).read([], arguments) == []
    assert arguments == {"p": default}
