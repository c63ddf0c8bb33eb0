"""The words of promos and the queries that find them, as texts for PostgreSQL."""

from uuid import UUID

from persistence.search import search_query, search_words

_COMPANY = UUID("5e1f0a52-6f0b-4d3c-9a55-6f6f0c7f2b11")


def _lexemes(words: str) -> set[str]:
    return {word.strip("'") for word in words.split()}


def test_words_of_a_promo() -> None:
    """Each word has a form for all users and one for the company; the words of the code have only the latter."""
    words = search_words(_COMPANY, "Any COFFEE, any tea", ["Hot drinks"], "SUMMER-tea")
    public = {"any", "coffee", "tea", "hot", "drinks"}
    assert _lexemes(words) == public | {f"/0c7f2b11/{word}" for word in public | {"summer"}}
    assert _lexemes(search_words(_COMPANY, "a", None, None)) == {"a", "/0c7f2b11/a"}
    assert search_words(_COMPANY, "☕️", [], None) == ""


def test_long_words() -> None:
    """A lexeme has at most 2,046 bytes, which longer words are cut to."""
    [public, own] = sorted(_lexemes(search_words(_COMPANY, "\U00020000" * 300, None, None)), key=len)
    assert (len(public), own[-100:]) == (100, public)
    assert len(own.encode()) <= 2046
    assert search_query("\U00020000" * 150) == f"'{public}':*"


def test_query() -> None:
    """A query has the beginning of each word once, with the prefix of the company if there is one."""
    assert search_query("Cof & 'TEA':* cof") == "'cof':* & 'tea':*"
    assert search_query("Cof tea", _COMPANY) == "'/0c7f2b11/cof':* & '/0c7f2b11/tea':*"
    assert search_query("&|!") is None
    assert search_query("☕️", _COMPANY) is None
