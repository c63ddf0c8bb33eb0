"""One promo that everybody wants, beside the same load on many: python -m tests.bench.hot_promo.

A hot promo is slow where its one counter is locked for the time of a commit, which a fast disk hides. So commits are
made slow: PostgreSQL waits 2 ms before each flush of its log (commit_delay, with commit_siblings = 0), as on a disk
that takes so long, or with a standby that must have the commit too.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import psycopg

from promo_api.sandbox.postgres import EmbeddedPostgres
from tests.bench.load import WRK, Request, requests_per_s
from tests.bench.surroundings import surroundings
from tests.e2e.server import Server

RATIO_MIN = 0.8

_CLIENTS = 64
_PROMOS = 100
_COMMIT_US = 2000
_ROUNDS = 5
_ROUND_S = 4


@contextmanager
def served() -> Iterator[tuple[Server, EmbeddedPostgres]]:
    """Serve the API with two workers, on a PostgreSQL whose commits are slow."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="promo-bench-", ignore_cleanup_errors=True)))
        postgres, environment = stack.enter_context(surroundings(folder))
        postgres.create_database("promo")
        with _connected(postgres) as connection:
            connection.execute(f"ALTER SYSTEM SET commit_delay = {_COMMIT_US}")
            connection.execute("ALTER SYSTEM SET commit_siblings = 0")
            connection.execute("SELECT pg_reload_conf()")
        environment["POSTGRES_DATABASE"] = "promo"
        yield stack.enter_context(Server(environment, folder)), postgres


def commit_ms(postgres: EmbeddedPostgres) -> float:
    """Return how long a commit takes that one client makes alone."""
    with _connected(postgres) as connection:
        connection.execute("CREATE TABLE measured (n integer)")
        times = [_timed_ms(connection, "INSERT INTO measured VALUES (1)") for _ in range(101)]
        connection.execute("DROP TABLE measured")
    return median(times)


def main() -> None:
    """Measure, and tell."""
    load = "our own client" if WRK is None else "wrk"
    with served() as (server, postgres):
        _tell(f"Two workers; {_ROUNDS} rounds of {_ROUND_S} s in turn, with {load} and {_CLIENTS} connections.")
        _tell(f"A commit that one client makes alone takes {commit_ms(postgres):.1f} ms.\n")
        hot, spread = _requests(server)
        rates: dict[str, list[float]] = {"hot": [], "spread": []}
        for _ in range(_ROUNDS):
            rates["spread"].append(requests_per_s(server.port, spread, _ROUND_S, _CLIENTS))
            rates["hot"].append(requests_per_s(server.port, hot, _ROUND_S, _CLIENTS))
    ratio = median(hot / spread for hot, spread in zip(rates["hot"], rates["spread"], strict=True))
    _tell(f"Activations of {_PROMOS} promos   {median(rates['spread']):8.0f} a second")
    _tell(f"Activations of one promo     {median(rates['hot']):8.0f} a second")
    _tell(f"One against many: {ratio:.2f}. Wanted: at least {RATIO_MIN}: {'met' if ratio >= RATIO_MIN else 'NOT MET'}.")


def _requests(server: Server) -> tuple[list[Request], list[Request]]:
    """Return activations of one promo, and of many, by all clients in turn."""
    company = server.people.sign_up_company()
    promos = [company.create_promo(max_count=100_000_000) for _ in range(_PROMOS)]
    tokens = [server.people.sign_up_user().token for _ in range(_CLIENTS)]

    def activation(promo_id: str, token: str) -> Request:
        return Request("POST", f"/api/user/promo/{promo_id}/activate", ("Authorization", f"Bearer {token}"))

    # As many requests as promos and clients have combinations, so that each client asks for each promo.
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


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
