"""Tables without their indexes and keys, for as long as they are filled.

With them each row of millions is looked up in other tables and put in its place in some indexes, at random. Without
them it is written down, and the indexes are sorted once and the keys checked once, when all rows are there.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

# Foreign keys first: as long as one is there, the primary key that it refers to can't be taken away.
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
def bare_tables(connection: psycopg.Connection, tell: Callable[[str], None]) -> Iterator[None]:
    """Take all indexes and all keys of the schema `public` away, and make them again at the end.

    Args:
        connection: in autocommit mode.
        tell: is told which one is made.
    """
    taken = [*connection.execute(_CONSTRAINTS).fetchall(), *connection.execute(_INDEXES).fetchall()]
    for _, drop, _ in taken:
        connection.execute(drop)
    yield
    for name, _, make in reversed(taken):
        tell(f"making {name}")
        connection.execute(make)
