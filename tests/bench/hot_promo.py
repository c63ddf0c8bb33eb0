"""Activations of one hot promo compared with many promos: python -m tests.bench.hot_promo.

A hot promo is slow if its counter is locked during the commit, which a fast disk hides. So PostgreSQL waits 2 ms before
each flush of the WAL (commit_delay, with commit_siblings = 0), as with a slower disk or a synchronous standby.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import psycopg

from promo_api.dev.postgres import EmbeddedPostgres
from tests.bench.load import WRK, Request, requests_per_s
from tests.bench.options import parse_rounds
from tests.bench.output import write_line
from tests.bench.servers import embedded_servers
from tests.e2e.server import Server

RATIO_MIN = 0.8

_CLIENTS = 64
_PROMOS = 100
_COMMIT_US = 2000
_ROUNDS = 5
_ROUND_S = 4


@contextmanager
def served() -> Iterator[tuple[Server, EmbeddedPostgres]]:
    """Serve the API with two workers, on a PostgreSQL with slow commits."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="promo-bench-", ignore_cleanup_errors=True)))
        postgres, environment = stack.enter_context(embedded_servers(folder))
        postgres.create_database("promo")
        with _connected(postgres) as connection:
            connection.execute(f"ALTER SYSTEM SET commit_delay = {_COMMIT_US}")
            connection.execute("ALTER SYSTEM SET commit_siblings = 0")
            connection.execute("SELECT pg_reload_conf()")
        environment["POSTGRES_DATABASE"] = "promo"
        yield stack.enter_context(Server(environment, folder)), postgres


def commit_ms(postgres: EmbeddedPostgres) -> float:
    """Return the duration of a commit while there is only one client."""
    with _connected(postgres) as connection:
        connection.execute("CREATE TABLE measured (n integer)")
        times = [_timed_ms(connection, "INSERT INTO measured VALUES (1)") for _ in range(101)]
        connection.execute("DROP TABLE measured")
    return median(times)


def main() -> None:
    """Measure, and print the result."""
    rounds, round_s = parse_rounds("tests.bench.hot_promo", "Activations of one hot promo.", _ROUNDS, _ROUND_S)
    load = "the built-in client" if WRK is None else "wrk"
    with served() as (server, postgres):
        write_line(f"Two workers; {rounds} rounds of {round_s} s in turn, with {load} and {_CLIENTS} connections.")
        write_line(f"A commit of a single client takes {commit_ms(postgres):.1f} ms.\n")
        hot, spread = _requests(server)
        rates: dict[str, list[float]] = {"hot": [], "spread": []}
        for _ in range(rounds):
            rates["spread"].append(requests_per_s(server.port, spread, round_s, _CLIENTS))
            rates["hot"].append(requests_per_s(server.port, hot, round_s, _CLIENTS))
    ratio = median(hot / spread for hot, spread in zip(rates["hot"], rates["spread"], strict=True))
    write_line(f"Activations of {_PROMOS} promos   {median(rates['spread']):8.0f} a second")
    write_line(f"Activations of one promo     {median(rates['hot']):8.0f} a second")
    write_line(
        f"One promo to many: {ratio:.2f}. Required: at least {RATIO_MIN}: {'met' if ratio >= RATIO_MIN else 'NOT MET'}."
    )


def _requests(server: Server) -> tuple[list[Request], list[Request]]:
    """Return activations of one promo, and of many promos, by all clients in turn."""
    company = server.accounts.sign_up_company()
    promos = [company.create_promo(max_count=100_000_000) for _ in range(_PROMOS)]
    tokens = [server.accounts.sign_up_user().token for _ in range(_CLIENTS)]

    def activation(promo_id: str, token: str) -> Request:
        return Request("POST", f"/api/user/promo/{promo_id}/activate", ("Authorization", f"Bearer {token}"))

    # One request for each pair of a promo and a client.
    turns = range(_PROMOS * _CLIENTS)
    spread = [activation(promos[turn % _PROMOS], tokens[turn // _PROMOS]) for turn in turns]
    return [activation(promos[0], token) for token in tokens], spread


@contextmanager
def _connected(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    target = {"host": postgres.host, "port": str(postgres.port), "user": postgres.username}
    with psycopg.connect(**target, dbname="postgres", autocommit=True) as connection:
        yield connection


def _timed_ms(connection: psycopg.Connection, statement: str) -> float:
    began = perf_counter()
    connection.execute(statement.encode())
    return (perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
