"""Servers whose databases have been filled with rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg

from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.security.tokens import Claims, Kind, Tokens
from tests.bench.data import READER_AGE, READER_COUNTRY, Size, fill, row_id
from tests.bench.servers import SECRET_KEY, embedded_servers
from tests.e2e.server import Server

RESPONSE_MAX_S = 300

_SEED = 1
_FEED_TOTAL = """
    SELECT count(*) FROM promos
    WHERE coalesce(country_key, %(country)s) = %(country)s
    AND %(age)s BETWEEN coalesce(age_from, 0) AND coalesce(age_until, 100)
"""


@dataclass(frozen=True)
class FilledServer:
    """A server with a filled database.

    Attributes:
        port: on localhost.
        size: of its database.
        feed_total: the number of promos in the feed of users 1 and 2.
    """

    port: int
    size: Size
    feed_total: int

    def token(self, kind: Kind, number: int) -> str:
        """Return a token of the company or user with this number."""
        return Tokens([SECRET_KEY], 24).issue(Claims(row_id(kind, number, _SEED), kind, 1))

    def promo_id(self, number: int) -> UUID:
        """Return the id of the promo with this number."""
        return row_id("promo", number, _SEED)


@contextmanager
def filled_servers(folder: Path, sizes: Sequence[Size], report: Callable[[str], None]) -> Iterator[list[FilledServer]]:
    """Run a server with two workers for a database of each size, on one PostgreSQL.

    Args:
        folder: of all data.
        sizes: of the databases.
        report: called with lines about the progress.
    """
    with ExitStack() as stack:
        postgres, environment = stack.enter_context(embedded_servers(folder))
        # Statements slower than the default timeout are measured too.
        environment["POSTGRES_STATEMENT_TIMEOUT_S"] = str(RESPONSE_MAX_S)
        yield [
            stack.enter_context(_filled_server(postgres, environment, folder / f"promo_{number}", size, report))
            for number, size in enumerate(sizes, 1)
        ]


@contextmanager
def _filled_server(
    postgres: EmbeddedPostgres, environment: dict[str, str], folder: Path, size: Size, report: Callable[[str], None]
) -> Iterator[FilledServer]:
    """Create, fill and serve a database with the name of `folder`."""
    postgres.create_database(folder.name)
    folder.mkdir()
    server = Server(environment | {"POSTGRES_DATABASE": folder.name}, folder)
    server.migrate()
    target = {"host": postgres.host, "port": str(postgres.port), "user": postgres.username}
    with psycopg.connect(**target, dbname=folder.name, autocommit=True) as connection:
        fill(connection, size, seed=_SEED, today=datetime.now(UTC).date(), report=report)
        reader = {"country": READER_COUNTRY, "age": READER_AGE}
        [(feed_total,)] = connection.execute(_FEED_TOTAL, reader).fetchall()
        # Otherwise a checkpoint would become due during a measurement.
        connection.execute("CHECKPOINT")
    with server:
        yield FilledServer(server.port, size, feed_total)
