"""Generated codes: each `#` of a pattern is a random character of an alphabet."""

from collections.abc import Iterator
from dataclasses import dataclass
from secrets import token_bytes

from promo_api.code_jobs.code_rules import describe_violation

# Nobody can find a code by trying: at most one of this many codes exists.
CODES_PER_ISSUED = 1_000_000
PLACEHOLDER = "#"
# No vowels, which form words, and no characters that look like others in some font: 0 and O, 1, I and L, 2 and Z,
# 5 and S, 8 and B, U and V.
DEFAULT_ALPHABET = "34679CDFGHJKMNPQRTVWX"

_BYTES = 256


@dataclass(frozen=True)
class Pattern:
    """A pattern with its alphabet of distinct characters."""

    text: str
    alphabet: str = DEFAULT_ALPHABET

    @property
    def placeholders(self) -> int:
        """The number of random characters."""
        return self.text.count(PLACEHOLDER)

    def needed_placeholders(self, count: int) -> int:
        """Return how many random characters this number of codes needs."""
        needed, space = 0, 1
        while space < count * CODES_PER_ISSUED:
            needed, space = needed + 1, space * len(self.alphabet)
        return needed

    def has_valid_alphabet(self) -> bool:
        """Return whether a code could consist of each character alone, so that no code has invisible characters."""
        return all(describe_violation(len(self.text) * each) is None for each in self.alphabet)

    def generate(self, count: int) -> Iterator[str]:
        """Yield random codes. Equal codes are possible."""
        size = self.placeholders
        template = self.text.replace("{", "{{").replace("}", "}}").replace(PLACEHOLDER, "{}")
        characters = _random_characters(self.alphabet, count * size)
        for start in range(0, count * size, size):
            yield template.format(*characters[start : start + size])


def _random_characters(alphabet: str, count: int) -> str:
    """Return random characters, each equally likely: bytes above the largest multiple of the size are left out."""
    size = len(alphabet)
    table = bytes(byte % size for byte in range(_BYTES))
    unequal = bytes(range(_BYTES - _BYTES % size, _BYTES))
    characters = dict(enumerate(alphabet))
    drawn = b""
    while len(drawn) < count:
        drawn += token_bytes(count - len(drawn) + 64).translate(table, unequal)
    return drawn[:count].decode("latin-1").translate(characters)
