"""Redemptions: many codes against few, a hot COMMON code against many: python -m tests.bench.redemptions.

Two workers each, on one PostgreSQL. Codes of UNIQUE promos are inserted by SQL as issued. `redeem` redeems each code
once; `hold` extends holds of 1,000 codes. The hand-written server (redemption_floor) has only what these requests need.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg

from promo_api.dev.ports import free_port
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.processes import wait_until
from tests.bench.load import Request, requests_per_s
from tests.bench.options import parse_rounds
from tests.bench.output import write_line
from tests.bench.redemption_floor import SCHEMA, issue
from tests.bench.servers import embedded_servers
from tests.e2e.server import Server

FLOOR_MIN, HOT_MIN, FLAT_MIN = 0.4, 0.8, 0.8

_FEW, _MANY = 1000, 1_000_000
_CLIENTS, _PROMOS = 64, 64
# More than a server redeems in a round.
_CODES_PER_S = 6000
_ROUNDS, _ROUND_S = 3, 4
_INSERT = """
    INSERT INTO promo_codes (promo_id, position, value, activation_id, issued_at, country_key)
    SELECT %(promo)s, number, 'CUP-' || number, gen_random_uuid(), now(), 'ru' FROM generate_series(2, %(count)s) number
"""
_COUNT = "UPDATE promo_counters SET use_limit = %(count)s, used_count = %(used)s WHERE promo_id = %(promo)s"
_INSERT_FLOOR = """
    INSERT INTO code SELECT %(promo)s, number, %(company)s, 'cup-' || number, 'CUP-' || number, 'ru'
    FROM generate_series(1, %(count)s) number
"""
_FLOOR_PROMO = "INSERT INTO promo VALUES (%(promo)s, %(company)s, 'UNIQUE', 'Coffee for less', NULL, %(count)s, 0)"


def _requests(path: str, token: str, bodies: Iterator[str]) -> list[Request]:
    return [
        Request("POST", f"/api/business/redemptions{path}", ("Authorization", f"Bearer {token}"), body)
        for body in bodies
    ]


class Bench:
    """Both servers with their codes."""

    def __init__(self, server: Server, postgres: EmbeddedPostgres, floor_port: int, rounds: int, seconds: int) -> None:
        self._ours, self._floor, self._postgres = server.port, floor_port, postgres
        self._rounds, self._seconds = rounds, seconds
        self._few, self._many, self._common = (server.accounts.sign_up_company() for _ in range(3))
        self._floor_company = str(uuid4())
        with psycopg.connect(_dsn(postgres, "promo"), autocommit=True) as connection:
            for company, count in ((self._few, _FEW), (self._many, _MANY)):
                promo = {"promo": company.create_promo(promo_unique=["CUP-1"]), "count": count, "used": count}
                connection.execute(_INSERT, promo)
                connection.execute(_COUNT, promo)
            self._promos = [self._common.create_promo(promo_common=f"coffee-{n}") for n in range(_PROMOS)]
            for promo_id in self._promos:
                connection.execute(_COUNT, {"promo": promo_id, "count": 100_000_000, "used": 100_000_000})
            connection.execute("VACUUM ANALYZE")
        with psycopg.connect(_dsn(postgres, "floor"), autocommit=True) as connection:
            connection.execute("INSERT INTO company VALUES (%s, 'Floor', 1)", [self._floor_company])
            promo = {"company": self._floor_company, "promo": str(uuid4()), "count": _MANY}
            connection.execute(_FLOOR_PROMO, promo)
            connection.execute(_INSERT_FLOOR, promo)
            connection.execute("VACUUM ANALYZE")
        self._codes = iter(range(2, _MANY + 1))
        self._floor_codes = iter(range(2, _MANY + 1))

    def run(self) -> Iterator[str]:
        """Yield the lines of the result."""
        checks = [f'{{"code":"cup-{n}"}}' for n in range(1, _FEW + 1)]
        holds = [f'{{"code":"cup-{n}","order_ref":"bench","hold_s":600}}' for n in range(2, _FEW + 1)]
        floor_token = issue(self._floor_company)

        def redeem(company_token: str, codes: Iterator[int]) -> list[Request]:
            bodies = (f'{{"code":"cup-{n}"}}' for n in islice(codes, self._seconds * _CODES_PER_S))
            return _requests("", company_token, bodies)

        yield self._compare(
            "validate, hand-written",
            lambda: (self._ours, _requests("/validate", self._many.token, iter(checks))),
            lambda: (self._floor, _requests("/validate", floor_token, iter(checks))),
            FLOOR_MIN,
        )
        yield self._compare(
            "validate, 1,000,000 codes against 1,000",
            lambda: (self._ours, _requests("/validate", self._many.token, iter(checks))),
            lambda: (self._ours, _requests("/validate", self._few.token, iter(checks))),
            FLAT_MIN,
        )
        yield self._compare(
            "hold, 1,000,000 codes against 1,000",
            lambda: (self._ours, _requests("", self._many.token, iter(holds))),
            lambda: (self._ours, _requests("", self._few.token, iter(holds))),
            FLAT_MIN,
        )
        for _ in range(_FEW):
            next(self._codes)
        # As autovacuum would within a minute: the first plans are those of empty tables.
        with psycopg.connect(_dsn(self._postgres, "promo"), autocommit=True) as connection:
            connection.execute("ANALYZE")
        yield self._compare(
            "redeem, hand-written",
            lambda: (self._ours, redeem(self._many.token, self._codes)),
            lambda: (self._floor, redeem(floor_token, self._floor_codes)),
            FLOOR_MIN,
        )
        hot = _requests("", self._common.token, iter(['{"code":"coffee-0"}']))
        spread = _requests("", self._common.token, (f'{{"code":"coffee-{n}"}}' for n in range(_PROMOS)))
        yield self._compare(
            "redeem, one COMMON code against many", lambda: (self._ours, hot), lambda: (self._ours, spread), HOT_MIN,
            clients=_CLIENTS,
        )  # fmt: skip

    def _compare(self, name: str, first: object, second: object, minimum: float, clients: int = 16) -> str:
        rates: list[list[float]] = [[], []]
        for _ in range(self._rounds):
            for load, measured in zip((first, second), rates, strict=True):
                port, requests = load()  # type: ignore[operator]
                measured.append(requests_per_s(port, requests, self._seconds, clients))
        ratio = median(rates[0]) / median(rates[1])
        return (
            f"{name:40} {median(rates[0]):7.0f} {median(rates[1]):7.0f} a second, ratio {ratio:.2f}"
            f" (at least {minimum}): {'met' if ratio >= minimum else 'NOT MET'}."
        )


def _dsn(postgres: EmbeddedPostgres, database: str) -> str:
    return f"host={postgres.host} port={postgres.port} user={postgres.username} dbname={database}"


@contextmanager
def _floor_served(postgres: EmbeddedPostgres) -> Iterator[int]:
    postgres.create_database("floor")
    with psycopg.connect(_dsn(postgres, "floor"), autocommit=True) as connection:
        connection.execute(SCHEMA)
    port = free_port("127.0.0.1")
    command: Sequence[str] = [sys.executable, "-m", "uvicorn", "tests.bench.redemption_floor:app", "--workers", "2"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--log-level", "warning"], env={**os.environ, "DSN": _dsn(postgres, "floor")}
    )
    try:
        assert wait_until(lambda: _listens(port), 30)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Measure, and print the result."""
    rounds, round_s = parse_rounds("tests.bench.redemptions", "Redemptions of codes.", _ROUNDS, _ROUND_S)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="promo-bench-", ignore_cleanup_errors=True)))
        postgres, settings = stack.enter_context(embedded_servers(folder))
        postgres.create_database("promo")
        server = stack.enter_context(Server(settings | {"POSTGRES_DATABASE": "promo"}, folder))
        floor_port = stack.enter_context(_floor_served(postgres))
        for line in Bench(server, postgres, floor_port, rounds, round_s).run():
            write_line(line)


if __name__ == "__main__":
    sys.exit(main())
