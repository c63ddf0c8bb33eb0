"""The API on databases that are full, one server for each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg

from promo_api.sandbox.postgres import EmbeddedPostgres
from promo_api.tokens import Claims, Kind, Tokens
from tests.bench.data import READER_AGE, READER_COUNTRY, Size, fill, row_id
from tests.bench.surroundings import SECRET_KEY, surroundings
from tests.e2e.server import Server

ANSWER_MAX_S = 300

_SEED = 1
_FOR_READER = """
    SELECT count(*) FROM promos
    WHERE coalesce(country_key, %(country)s) = %(country)s
    AND %(age)s BETWEEN coalesce(age_from, 0) AND coalesce(age_until, 100)
"""


@dataclass(frozen=True)
class Filled:
    """A server on a database that is full.

    Attributes:
        port: where it listens, on this machine.
        size: how many rows its database has.
        feed_total: how many promos the feed of users 1 and 2 has.
    """

    port: int
    size: Size
    feed_total: int

    def token(self, kind: Kind, number: int) -> str:
        """Return a token of the company or user of this number."""
        return Tokens([SECRET_KEY], 24).issue(Claims(row_id(kind, number, _SEED), kind, 1))

    def promo_id(self, number: int) -> UUID:
        """Return the id of the promo of this number."""
        return row_id("promo", number, _SEED)


@contextmanager
def filled(folder: Path, sizes: Sequence[Size], tell: Callable[[str], None]) -> Iterator[list[Filled]]:
    """Serve a database of each size, with two workers each, on one PostgreSQL.

    Args:
        folder: of the data of all servers.
        sizes: how many rows each database has.
        tell: is told what is done and how far it is.
    """
    with ExitStack() as stack:
        postgres, environment = stack.enter_context(surroundings(folder))
        # What takes longer than a statement may is to be measured too.
        environment["POSTGRES_STATEMENT_TIMEOUT_S"] = str(ANSWER_MAX_S)
        yield [
            stack.enter_context(_served(postgres, environment, folder / f"promo_{number}", size, tell))
            for number, size in enumerate(sizes, 1)
        ]


@contextmanager
def _served(
    postgres: EmbeddedPostgres, environment: dict[str, str], folder: Path, size: Size, tell: Callable[[str], None]
) -> Iterator[Filled]:
    """Serve a new database, called like the folder of its server."""
    postgres.create_database(folder.name)
    folder.mkdir()
    server = Server(environment | {"POSTGRES_DATABASE": folder.name}, folder)
    server.migrate()
    target = {"host": postgres.host, "port": str(postgres.port), "user": postgres.username}
    with psycopg.connect(**target, dbname=folder.name, autocommit=True) as connection:
        fill(connection, size, seed=_SEED, today=datetime.now(UTC).date(), tell=tell)
        reader = {"country": READER_COUNTRY, "age": READER_AGE}
        [(feed_total,)] = connection.execute(_FOR_READER, reader).fetchall()
        # Else the one that is due would be made while something is measured.
        connection.execute("CHECKPOINT")
    with server:
        yield Filled(server.port, size, feed_total)
