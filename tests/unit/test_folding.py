"""Keys of texts: equal for texts that users take for equal, and only for those."""

import re
import sys
from itertools import combinations
from unicodedata import normalize

import pytest

from promo_api.folding import fold, list_words
from tests.cases import all_cases
from tests.unit.source import files

EQUAL = [
    ("Coffee", "coffee", "COFFEE"),
    ("Кофе", "КОФЕ", "кофе"),
    ("Café", "cafe\u0301", "CAFE\u0301", "CAFÉ"),
    ("Ёж", "ёж", normalize("NFD", "Ёж"), normalize("NFD", "ЁЖ")),
    ("Straße", "STRASSE", "strasse", "STRA\u1e9eE"),
    ("ΣΊΣΥΦΟΣ", "σίσυφος", "σίσυφοσ"),
    ("\u1f80", "\u1f88", "\u03b1\u0313\u0345", "\u03b1\u0345\u0313"),
    ("ISPARTA", "\u0131sparta", "isparta", "İSPARTA", "I\u0307sparta"),
    ("İzmir", "izmir", "IZMIR", "\u0131zmir"),
    ("İ", "i", "I", "\u0131", "i\u0307", "I\u0307"),
    ("한국", normalize("NFD", "한국")),
    ("\u212b", "Å", "a\u030a"),
    ("\u01f0", "J\u030c"),
    ("\ufb01", "FI"),
]
DIFFERENT = ["coffee", "cofee", "coffee ", "café", "cafe", "еж", "ёж", "", "j", "i", "í", "ï", "ș", "s", "ş"]


@all_cases("texts", [(texts,) for texts in EQUAL])
def test_equal_texts(texts: tuple[tuple[str, ...]]) -> None:
    """Case, normal form, sharp s, final sigma and the dot of an i do not matter."""
    assert len({fold(text) for text in texts[0]}) == 1


def test_different_texts() -> None:
    """Accents, blanks and other letters matter."""
    for one, other in combinations(DIFFERENT, 2):
        assert fold(one) != fold(other)


def test_every_character() -> None:
    """For every character of Unicode, a key is its own key, in NFC, and that of its capital, small and NFD form."""
    for code in range(sys.maxunicode + 1):
        text = chr(code)
        key = fold(text)
        variants = {key, text.upper(), text.lower(), text.title(), normalize("NFD", text), normalize("NFC", text)}
        assert {fold(variant) for variant in variants - {text}} <= {key}, hex(code)
        assert normalize("NFC", key) == key


@pytest.mark.parametrize("text", ["ANN.Lee+I@Mail-1.EXAMPLE.COM", "RU", "Iq"])
def test_ascii_keys_of_earlier_versions(text: str) -> None:
    """The keys of e-mail addresses and countries, which are ASCII, are those of earlier versions."""
    assert fold(text) == text.casefold() == text.lower()


def test_texts_are_compared_by_fold() -> None:
    """No other module folds the case of texts of users."""
    offenders = [
        f"{module}:{number}"
        for module, file in files().items()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"casefold\(|func\.(lower|upper)\(|\bILIKE\b|\.ilike\(", line)
    ]
    assert [place.partition(":")[0] for place in offenders] == ["promo_api.folding"], offenders


@all_cases(
    ("text", "words"),
    [
        ("Twenty percent OFF", ["twenty", "percent", "off"]),
        ("COFFEE-20 (a_b), don't", ["coffee", "20", "a", "b", "don", "t"]),
        ("Cafe\u0301 Stra\u00dfe \u0130ZM\u0130R", ["café", "strasse", "izmir"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e", ["हिन्दी", "भाषा"]),
        ("\u2615\ufe0fcoffee\u2615\ufe0f \u2764\ufe0f", ["coffee"]),
        ("½ ² ٣", ["½", "²", "٣"]),
        ("'\\\":*&|!<->()/\t\n\u00a0\u3000", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    """Words are letters and numbers with their marks; everything else separates them."""
    assert list_words(text) == words


def test_words_of_every_character() -> None:
    """No word contains a character that is special in a text search of PostgreSQL. A word is its own word."""
    for code in range(sys.maxunicode + 1):
        for word in list_words(f"a{chr(code)}b"):
            assert not set(word) & set("'\\\":*&|!<>()/ \t\n\r\v\f"), hex(code)
            assert list_words(word) == [word], hex(code)
