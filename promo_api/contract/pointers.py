"""JSON pointers (RFC 6901) to violations.

A client may send a secret as a name. So a name that api.yml does not declare is shown only if it has the form of the
declared ones: at most 40 letters, `_` and `-`. Tokens, ids, valid passwords and most codes have other characters.
"""

import re
from collections.abc import Collection

from promo_api.errors import Violation

_HARMLESS_NAME = re.compile(r"[A-Za-z_-]{1,40}")


def is_harmless(name: str) -> bool:
    """Return whether an error may show a name that the client chose."""
    return _HARMLESS_NAME.fullmatch(name) is not None


def join(pointer: str, step: str | int) -> str:
    """Return the pointer to a member or an item."""
    return f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}"


def unknown(location: str, pointer: str, name: str, *, kind: str, allowed: Collection[str]) -> Violation:
    """Return the violation of an undeclared name in an object or a query; `kind` is `member` or `parameter`."""
    rule = f"; allowed {'is' if len(allowed) == 1 else 'are'} {', '.join(allowed)}" if allowed else ""
    if is_harmless(name):
        return Violation(location, join(pointer, name), f"is not allowed{rule}")
    return Violation(location, pointer, f"has a {kind} that is not allowed{rule}")
