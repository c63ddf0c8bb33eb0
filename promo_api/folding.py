"""Keys for the comparison of texts: categories, countries and e-mail addresses."""

import re
from unicodedata import normalize

_DOTTED_I = re.compile("i\u0307+")
_DOTLESS_I = "\u0131"


def fold(text: str) -> str:
    """Return the same key for texts that differ only in case or in Unicode normal form.

    It is a canonical caseless match (definition D145 of Unicode), in NFC. The dotted and the dotless i are one letter,
    because I is the capital of i in most languages, and of the dotless i in Turkish.
    """
    folded = normalize("NFD", normalize("NFD", text).casefold())
    return normalize("NFC", _DOTTED_I.sub("i", folded.replace(_DOTLESS_I, "i")))
