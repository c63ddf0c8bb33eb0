"""Pages of lists that have a cursor and neither an offset nor a total."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from handlers import Headers
from handlers.idempotency import Account
from handlers.pages import next_page
from promo_api.runtime import Runtime
from promo_api.specification import MAX_PAGE_ENTRIES, PATHS

_Entry = TypeVar("_Entry")


def cursor_page(
    runtime: Runtime, account: Account, operation: str, filters: Mapping[str, Any], limit: int, cursor: str | None,
    read: Callable[[Any, int], list[_Entry]], key_of: Callable[[_Entry], tuple[object, ...]],
) -> tuple[list[_Entry], Headers]:  # fmt: skip
    """Return the entries of a page, and the headers that lead to the next.

    `filters` are all parameters except limit and cursor: a cursor is valid only with the same ones. `read` returns a
    number of entries after a key (None: the first ones), and `key_of` the key of an entry.
    """
    cursors = runtime.cursors.of_list(operation, account.id, filters)
    after, size = cursors.read(cursor), min(limit, MAX_PAGE_ENTRIES)
    entries = read(after, size + 1) if size else []
    if len(entries) <= size:
        return entries, {}
    del entries[size:]
    next_cursor = cursors.issue(key_of(entries[-1])) or ""
    given = {name: value for name, value in filters.items() if value is not None}
    return entries, next_page(PATHS[operation], limit, given, next_cursor)
