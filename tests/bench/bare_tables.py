"""Tables without indexes and constraints, for bulk loading.

Otherwise each of millions of rows is checked against other tables and inserted at random places of some indexes. It is
faster to sort the indexes and check the constraints once, after all rows have been inserted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

# Foreign keys first: a primary key cannot be dropped while a foreign key refers to it.
_CONSTRAINTS = """
    SELECT conname, format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
        format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND contype IN ('f', 'p', 'u')
    ORDER BY contype, conname
"""
_INDEXES = """
    SELECT relname, format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relnamespace = 'public'::regnamespace AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    ORDER BY relname
"""


@contextmanager
def without_indexes(connection: psycopg.Connection, report: Callable[[str], None]) -> Iterator[None]:
    """Drop all indexes and keys of the schema `public`, and create them again at the end of the block.

    Args:
        connection: in autocommit mode.
        report: called with lines about the progress.
    """
    dropped = [*connection.execute(_CONSTRAINTS).fetchall(), *connection.execute(_INDEXES).fetchall()]
    for _, drop, _ in dropped:
        connection.execute(drop)
    yield
    for name, _, create in reversed(dropped):
        report(f"creating {name}")
        connection.execute(create)
