"""Keys for the comparison of texts: categories, countries, e-mail addresses, and words for searches."""

import re
from unicodedata import category, normalize

_DOTTED_I = re.compile("i\u0307+")
_DOTLESS_I = "\u0131"
_ASCII_WORD = re.compile("[0-9a-z]+")
# Begins with a letter or number, so that an emoji with a variation selector is no word.
_WORD = re.compile(r"\w\S*")


def fold(text: str) -> str:
    """Return the same key for texts that differ only in case or in Unicode normal form.

    It is a canonical caseless match (definition D145 of Unicode), in NFC. The dotted and the dotless i are one letter,
    because I is the capital of i in most languages, and of the dotless i in Turkish.
    """
    if text.isascii():
        return text.lower()
    folded = normalize("NFD", normalize("NFD", text).casefold())
    return normalize("NFC", _DOTTED_I.sub("i", folded.replace(_DOTLESS_I, "i")))


def list_words(text: str) -> list[str]:
    """Return the folded words of a text: its letters and numbers, with the marks that follow them."""
    folded = fold(text)
    if folded.isascii():
        return _ASCII_WORD.findall(folded)
    separators = {ord(character): " " for character in set(folded) if category(character)[0] not in "LMN"}
    return _WORD.findall(folded.translate(separators))
