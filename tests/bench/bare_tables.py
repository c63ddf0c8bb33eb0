"""Tables without indexes, constraints and triggers, for bulk loading.

Otherwise each of millions of rows is checked against other tables, inserted at random places of some indexes, and
counted. It is faster to do all this once, after all rows have been inserted.
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
_TRIGGERS = """
    SELECT DISTINCT 'triggers of ' || relname, format('ALTER TABLE %s DISABLE TRIGGER USER', tgrelid::regclass),
        format('ALTER TABLE %s ENABLE TRIGGER USER', tgrelid::regclass)
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE relnamespace = 'public'::regnamespace AND NOT tgisinternal
"""


@contextmanager
def bare_tables(connection: psycopg.Connection, report: Callable[[str], None]) -> Iterator[None]:
    """Drop all indexes and keys of the schema `public` and disable its triggers, and undo this after the block.

    Args:
        connection: in autocommit mode.
        report: called with lines about the progress.
    """
    dropped = [row for query in (_CONSTRAINTS, _INDEXES, _TRIGGERS) for row in connection.execute(query).fetchall()]
    for _, drop, _ in dropped:
        connection.execute(drop)
    yield
    for name, _, create in reversed(dropped):
        report(f"creating {name}")
        connection.execute(create)
