"""Records the statements that are sent to PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread
from typing import Any

import psycopg
import pytest


@contextmanager
def sent_statements() -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements sent during a block, with their parameters; not those of jobs and health checks.

    The first statement of a new connection is not one of them.
    """
    sent: list[tuple[str, Any]] = []

    def recorder(name: str) -> Any:
        run = getattr(psycopg.Cursor, name)

        def record(cursor: Any, statement: str, parameters: Any = None, **options: Any) -> Any:
            is_first = not hasattr(cursor.connection, "statements")
            if not (is_first or current_thread().name.startswith(("job-", "health"))):
                sent.append((statement, parameters))
            return run(cursor, statement, parameters, **options)

        return record

    with pytest.MonkeyPatch.context() as patch:
        for name in ("execute", "executemany"):
            patch.setattr(psycopg.Cursor, name, recorder(name))
        yield sent
