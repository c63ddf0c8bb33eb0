"""Log lines: one event each, with a constant name and ids; never a body, a token, an e-mail address or a code."""

import logging
import sys
from contextvars import ContextVar

# The id of the request that is worked on, in the event loop and in the handler's thread; "": none.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")


def set_up_logging() -> None:
    """Write log lines of level INFO and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # What Connexion says of a request repeats what was sent, and what it says at the start helps nobody.
    for name in ("connexion", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
