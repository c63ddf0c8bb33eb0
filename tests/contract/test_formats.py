"""String formats: valid texts, and near misses that common checkers accept."""

import pytest

from promo_api.contract.formats import FORMATS
from tests.cases import all_cases

GOOD = {
    "uuid": [
        "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63",
        "0B6F2D9E-3C1A-4F57-8E0D-2A9B7C4D1E63",
        "0" * 8 + "-0000" * 3 + "-" + "0" * 12,
    ],
    "date": ["2025-01-10", "2024-02-29", "0001-01-01", "9999-12-31"],
    "date-time": [
        "2025-01-10T12:30:05Z",
        "2025-01-10t12:30:05z",
        "2025-01-10T12:30:05.1Z",
        "2025-01-10T12:30:05.123456+00:00",
        "2025-01-10T12:30:05.123456789-23:59",
    ],
    "email": ["a@b", "ann.lee+promo@mail.example", "a!#$%&'*+/=?^_`{|}~-@x-y.example", "1@2.3"],
    "visible-text": [
        "",
        "a",
        " \n.",
        "ы",
        "\u200d\u093e\u0915",
        "e\u0301",
        "\U0001f469\u200d\U0001f469",
        "\ue000",
        "\u0378",
        "\U000e0041!",
    ],
    "uri": ["http://a", "https://a.example:8080/b/c?d=e&f#g", "urn:a:b", "a:", "http://a/%20%FF"],
}
BAD = {
    "uuid": [
        "",
        "0b6f2d9e3c1a4f578e0d2a9b7c4d1e63",
        "{0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63}",
        "urn:uuid:0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63",
        "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e6",
        "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e6g",
        "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63\n",
        " 0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63",
        "0b6f-2d9e3c1a-4f57-8e0d-2a9b7c4d1e63",
        "\u0660b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63",
    ],
    "date": [
        "",
        "0000-01-01",
        "2025-02-30",
        "2025-02-29",
        "2025-13-01",
        "2025-00-10",
        "2025-01-00",
        "20250110",
        "2025-1-10",
        "2025-W02-5",
        "2025-01-10\n",
        " 2025-01-10",
        "10000-01-01",
        "-2025-01-10",
        "٢٠٢٥-01-10",
        "2025-01-10T00:00:00Z",
    ],
    "date-time": [
        "",
        "2025-01-10",
        "2025-01-10T12:30:05",
        "2025-01-10 12:30:05Z",
        "2025-01-10T12:30Z",
        "2025-01-10T12:30:05+0000",
        "2025-01-10T12:30:05+00",
        "2025-02-30T12:30:05Z",
        "0000-01-01T00:00:00Z",
        "2025-01-10T24:00:00Z",
        "2025-01-10T12:60:00Z",
        "2025-01-10T12:30:05.Z",
        "2025-01-10T12:30:05+24:00",
        "2025-01-10T12:30:05+00:60",
        "2025-01-10T12:30:05Z\n",
        "20250110T123005Z",
    ],
    "email": [
        "",
        "a",
        "@b.c",
        "a@",
        "a@@b.c",
        "a@b@c",
        ".a@b.c",
        "a.@b.c",
        "a..b@c.d",
        "a@-b.c",
        "a@b-.c",
        "a@b..c",
        "a@.b",
        "a@b.",
        "a b@c.d",
        '"a b"@c.d',
        "a@[127.0.0.1]",
        "a@b_c.d",
        "é@b.c",
        "a@é.c",
        "a@b.c\n",
        "Ann <a@b.c>",
        "a@b.c,d@e.f",
        "a\x00@b.c",
    ],
    "visible-text": [
        " ",
        "\n\r\t",
        "\xa0",
        "\xad",
        "\u0085",
        "\u0301",
        "\u034f",
        "\u061c",
        "\u115f",
        "\u1160",
        "\u17b4",
        "\u180e",
        "\u200b",
        "\u200c\u200d\u200e\u200f",
        "\u2028\u2029",
        "\u202e",
        "\u2060\u2065\u2069",
        "\u2800",
        "\u3000",
        "\u3164",
        "\ufe0f",
        "\ufeff",
        "\uffa0",
        "\ufff0",
        "\U0001d159",
        "\U000e0041\U000e007f",
        "\U000e0080",
        "\U000e0100",
    ],
    "uri": [
        "",
        "/a",
        "//a",
        "a",
        "1http://a",
        "http://a b",
        "http://é",
        "http://a/%zz",
        "http://a/%2",
        "http://a\n",
        "http://a\\b",
        ":a",
        "http://a/<b>",
        "http://a/\x00",
    ],
}


@all_cases(("name", "text"), [(name, text) for name, texts in GOOD.items() for text in texts])
def test_valid_texts(name: str, text: str) -> None:
    """A text of the format is valid."""
    assert FORMATS[name](text) is True


@all_cases(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_invalid_texts(name: str, text: str) -> None:
    """A near miss is invalid."""
    assert FORMATS[name](text) is False


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_examples(name: str) -> None:
    """Every format has valid and invalid examples."""
    assert GOOD[name]
    assert BAD[name]


@pytest.mark.parametrize(
    ("name", "text"),
    [("email", "a@" + "a-" * 500_000), ("email", "a." * 500_000), ("uri", "http://" + "%20" * 300_000 + " ")],
)
def test_long_texts_take_linear_time(name: str, text: str) -> None:
    """A text as long as a whole body is refused in a time that grows with its length, not with its square."""
    assert FORMATS[name](text) is False
