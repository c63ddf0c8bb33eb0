"""The header Retry-After."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds to wait, from a number or an HTTP date; None: there is none, or it is invalid."""
    if text is None:
        return None
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    # Without a zone, as in -0000 or the obsolete formats: it is UTC.
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
