"""Pages of lists: the parameters limit, offset and cursor, and the headers that lead to the next page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import quote

from handlers import Body, Headers
from handlers.idempotency import Account
from persistence.pages import Key, Page
from promo_api.contract.streams import StreamedResponse
from promo_api.errors import InvalidInput
from promo_api.runtime import Runtime
from promo_api.specification import MAX_PAGE_ENTRIES, PATHS

Response = tuple[list[Body], int, Headers]
_Entry = TypeVar("_Entry")


@dataclass(frozen=True)
class PageRequest:
    """The page that a request asks for: at an offset, or after the entry with the key `after`."""

    limit: int
    offset: int
    after: Key | None


def paged(handler: Callable[..., Page[Body] | StreamedResponse]) -> Callable[..., Response | StreamedResponse]:
    """Give an operation the parameters limit, offset and cursor; the handler gets a PageRequest as `page`.

    The other parameters are the filters of the list: a cursor is valid only with the same ones. The handler may return
    the whole list as a stream instead.
    """
    operation = f"{handler.__module__.removeprefix('handlers.')}.{handler.__name__}"

    @wraps(handler)
    def respond(
        runtime: Runtime,
        account: Account,
        *,
        limit: int,
        offset: int | None = None,
        cursor: str | None = None,
        **arguments: Any,
    ) -> Response | StreamedResponse:
        if cursor is not None and offset is not None:
            raise InvalidInput.query("/offset", "must not be given together with `cursor`")
        filters = {name: value for name, value in arguments.items() if name != "media_type"}
        cursors = runtime.cursors.of_list(operation, account.id, filters)
        request = PageRequest(min(limit, MAX_PAGE_ENTRIES), offset or 0, cursors.read(cursor))
        page = handler(runtime, account, page=request, **arguments)
        if isinstance(page, StreamedResponse):
            return page
        headers = {} if page.total is None else {"X-Total-Count": str(page.total)}
        next_cursor = cursors.issue(page.next_key)
        if next_cursor is not None:
            headers["X-Next-Cursor"] = next_cursor
        # Not after an empty page, which may have a cursor: a client that follows links would never end.
        if next_cursor is not None and page.entries:
            headers["Link"] = _next_link(PATHS[operation], limit, filters, next_cursor)
        return page.entries, 200, headers

    return respond


def serialize_page(page: Page[_Entry], serialize: Callable[[_Entry], Body]) -> Page[Body]:
    """Return a page of JSON objects."""
    return Page([serialize(entry) for entry in page.entries], page.total, page.next_key)


def _next_link(path: str, limit: int, filters: Mapping[str, Any], cursor: str) -> str:
    """Return the link (RFC 8288). It has no host, so that it is right behind any proxy."""
    others = [f"{name}={_quoted(value)}" for name, value in filters.items() if f"{{{name}}}" not in path]
    query = "&".join([f"limit={limit}", *others, f"cursor={cursor}"])
    return f'<{path.format_map(filters)}?{query}>; rel="next"'


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return quote(",".join(value) if isinstance(value, list) else str(value), safe=",")
