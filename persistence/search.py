"""Searches: the words of promos, and the queries that find them.

A promo has the folded words of its description and categories, which all users may find. Its company also finds the
common code, which is secret. So each word has a second form, with a prefix for the company, and the words of the code
have only this form. The prefix also makes a search of a company one range of the index, with none of the promos of
others. A word contains no quote, backslash or blank, so quotes make it one lexeme for PostgreSQL.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, cast, false, func
from sqlalchemy.dialects.postgresql import TSQUERY

from persistence.schema.tables import promos
from promo_api.folding import list_words

# A lexeme has at most 2,046 bytes.
_MAX_CHARS = 100
_QUERY = cast(bindparam("search"), TSQUERY)


def search_words(company_id: UUID, description: str, categories: Iterable[str] | None, code: str | None) -> str:
    """Return the words of a promo as a tsvector. `code` is the code of a COMMON promo."""
    public = set(_words("\n".join((description, *(categories or ())))))
    prefix = _of_company(company_id)
    private = [prefix + word for word in public.union(_words(code or ""))]
    return " ".join(f"'{word}'" for word in [*public, *private])


def search_query(text: str, company_id: UUID | None = None) -> str | None:
    """Return a tsquery for promos that have a word with each word of the text as its beginning; None: no words.

    With a company it finds only the promos of that company, also by their codes, and a few of others: check the owner.
    """
    prefix = "" if company_id is None else _of_company(company_id)
    return " & ".join(f"'{prefix}{word}':*" for word in dict.fromkeys(_words(text))) or None


def is_found() -> ColumnElement[bool]:
    """It has the words of the parameter `search`, a result of `search_query`."""
    return promos.c.search_words.bool_op("@@")(_QUERY)


def without_index(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Keep the planner from using an index for a condition, and let it expect that nearly all rows match."""
    return func.nullif(condition, false()).is_not(None)


def _words(text: str) -> Iterable[str]:
    return (word[:_MAX_CHARS] for word in list_words(text))


def _of_company(company_id: UUID) -> str:
    """Return the prefix of the company's words. No word begins with `/`, so users cannot search for it."""
    return f"/{company_id.hex[-8:]}/"
