"""Response times with little and with much data: python -m tests.bench.growth.

One client alternates between little and much data, because other programs on the machine would distort a comparison of
separate runs. Feeds, which depend on all promos, compare a small database with a large one. Other rows compare two
companies, promos or users in the large database, one of them with little data.
"""

import json
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, gettempdir
from time import perf_counter

from tests.bench.data import (
    COMMON_CATEGORY,
    FEW_PROMO_ACTIVATIONS,
    FEW_PROMOS,
    FEW_USER_ACTIVATIONS,
    RARE_CATEGORY,
    READER_COUNTRY,
    Size,
)
from tests.bench.filled_database import RESPONSE_MAX_S, FilledServer, filled_servers
from tests.bench.output import write_line

SMALL = Size(promos=1_000, users=1_000, activations=10_000)
LARGE = Size(promos=1_000_000, users=1_000_000, activations=10_000_000)

_ROW_S = 60.0
_ROUNDS = 10
_OFFSET = 10_000


@dataclass(frozen=True)
class Query:
    """A GET request.

    Attributes:
        port: of the server, on localhost.
        path: below /api.
        token: of the client.
        total: the total that the response must contain; None if it is unknown.
    """

    port: int
    path: str
    token: str
    total: int | None = None


@dataclass
class Row:
    """One row of the table: two queries and their response times.

    Attributes:
        name: a description.
        ratio_max: the limit of `ratio`.
        little: the query for little data.
        much: the query for much data.
        little_ms: the response times of `little`.
        much_ms: the response times of `much`.
    """

    name: str
    ratio_max: float
    little: Query
    much: Query
    little_ms: list[float] = field(default_factory=list)
    much_ms: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The median response time of `much` relative to `little`."""
        return median(self.much_ms) / median(self.little_ms)

    def __str__(self) -> str:
        """Return the row of the table."""
        met = "met" if self.ratio <= self.ratio_max else "NOT MET"
        times = f"{median(self.little_ms):10.2f}{median(self.much_ms):10.2f}"
        return f"{self.name:60}{times}{self.ratio:8.1f}{self.ratio_max:8.0f}  {met}"


def rows(small: FilledServer, large: FilledServer) -> list[Row]:
    """Return the rows of the table, without measurements."""
    return [*_feed_rows(small, large), *_company_rows(large), _stat_row(large), _history_row(large)]


def _feed_rows(small: FilledServer, large: FilledServer) -> Iterator[Row]:
    def feed(server: FilledServer, query: str, total: int | None = None) -> Query:
        return Query(server.port, f"/user/feed?{query}", server.token("user", 2), total)

    first = feed(small, "limit=10", small.feed_total)
    yield Row("feed, first page", 2, first, feed(large, "limit=10", large.feed_total))
    for query in ("active=true", "active=false", f"category={COMMON_CATEGORY}", f"category={RARE_CATEGORY}"):
        yield Row(f"feed, {query}", 5, feed(small, query), feed(large, query))
    deep = feed(large, f"offset={_OFFSET}", large.feed_total)
    yield Row(f"feed, offset={_OFFSET}, against the first page", 5, first, deep)


def _company_rows(large: FilledServer) -> Iterator[Row]:
    def promos(number: int, query: str, total: int | None = None) -> Query:
        return Query(large.port, f"/business/promo?{query}", large.token("company", number), total)

    much = large.size.company_promos
    for order in ("sort_by=active_from", "sort_by=active_until"):
        little = promos(2, order, FEW_PROMOS)
        yield Row(f"company list of {much:,}, {order}", 3, little, promos(1, order, much))
    country = f"country={READER_COUNTRY}"
    for query in (country, f"sort_by=active_from&{country}", f"sort_by=active_until&{country}"):
        yield Row(f"company list of {much:,}, {query}", 3, promos(2, query), promos(1, query))


def _stat_row(large: FilledServer) -> Row:
    def stat(number: int, total: int) -> Query:
        # Promo 1 is company 1's, promo 2 is company 2's.
        path = f"/business/promo/{large.promo_id(number)}/stat"
        return Query(large.port, path, large.token("company", number), total)

    much = large.size.promo_activations
    return Row(f"stat of a promo with {much:,} activations", 2, stat(2, FEW_PROMO_ACTIVATIONS), stat(1, much))


def _history_row(large: FilledServer) -> Row:
    def history(number: int, total: int) -> Query:
        return Query(large.port, "/user/promo/history", large.token("user", number), total)

    much = large.size.user_activations
    little = history(2, FEW_USER_ACTIVATIONS)
    return Row(f"history of a user with {much:,} activations", 2, little, history(1, much))


def measure(row: Row, duration_s: float) -> None:
    """Send the queries of a row in turn, and add their response times.

    Args:
        row: the row.
        duration_s: of all rounds. Before them, each query is warmed up for half a round.
    """
    turn_s = duration_s / _ROUNDS / 2
    for query in (row.little, row.much):
        _response_times_ms(query, turn_s)
    for _ in range(_ROUNDS):
        row.little_ms += _response_times_ms(row.little, turn_s)
        row.much_ms += _response_times_ms(row.much, turn_s)


def _response_times_ms(query: Query, duration_s: float) -> list[float]:
    """Send a query repeatedly, at least once, and return the response times."""
    connection = HTTPConnection("127.0.0.1", query.port, timeout=RESPONSE_MAX_S)
    header = {"Authorization": f"Bearer {query.token}"}
    times: list[float] = []
    until = perf_counter() + duration_s
    try:
        while not times or perf_counter() < until:
            began = perf_counter()
            connection.request("GET", f"/api{query.path}", headers=header)
            response = connection.getresponse()
            body = response.read()
            times.append((perf_counter() - began) * 1000)
            _check(query, response.status, response.headers.get("X-Total-Count"), body)
    finally:
        connection.close()
    return times


def _check(query: Query, status: int, total: str | None, body: bytes) -> None:
    """Check the response: the time of a wrong one means nothing."""
    if status != 200:
        raise RuntimeError(f"{query.path} responded with status {status}.")
    if query.total is not None:
        actual = json.loads(body)["activations_count"] if total is None else int(total)
        if actual != query.total:
            raise RuntimeError(f"{query.path} returned a total of {actual:,} instead of {query.total:,}.")


def main() -> None:
    """Measure, and print the table."""
    size, row_s = _arguments()
    needed_bytes, free_bytes = SMALL.disk_bytes + size.disk_bytes, shutil.disk_usage(gettempdir()).free
    if free_bytes < needed_bytes:
        space = f"{needed_bytes / 1e9:.0f} GB of disk space, but {gettempdir()} has {free_bytes / 1e9:.0f} GB"
        sys.exit(f"This needs {space}. Set TMPDIR to a folder with more space, or use fewer rows.")
    _print(f"{size.promos:,} promos, {size.users:,} users and {size.activations:,} activations, compared with")
    _print(f"{SMALL.promos:,} promos, {SMALL.users:,} users and {SMALL.activations:,} activations. One client,")
    _print(f"two workers each; {row_s:.0f} s for each row, in {_ROUNDS} rounds in turn. Medians, in ms.\n")
    # ignore_cleanup_errors: PostgreSQL may still be writing if it was stopped by an interrupt.
    with (
        TemporaryDirectory(prefix="promo-bench-", ignore_cleanup_errors=True) as folder,
        filled_servers(Path(folder), [SMALL, size], _show_progress) as (small, large),
    ):
        _print(f"{'':60}{'little':>10}{'much':>10}{'ratio':>8}{'limit':>8}")
        for row in rows(small, large):
            _show_progress(row.name)
            measure(row, row_s)
            _print(str(row))


def _arguments() -> tuple[Size, float]:
    parser = ArgumentParser(
        prog="python -m tests.bench.growth", description="Response times with little and with much data."
    )
    parser.add_argument("--promos", type=int, default=LARGE.promos, help="a multiple of 1,000")
    parser.add_argument("--users", type=int, default=LARGE.users, help="a multiple of 1,000")
    parser.add_argument("--activations", type=int, default=LARGE.activations, help="a multiple of 10,000")
    parser.add_argument("--row-s", type=float, default=_ROW_S, help="duration of each row in seconds")
    options = parser.parse_args()
    try:
        return Size(promos=options.promos, users=options.users, activations=options.activations), options.row_s
    except ValueError as error:
        parser.error(str(error))


def _print(line: str) -> None:
    _show_progress("")
    write_line(line)


def _show_progress(line: str) -> None:
    """Replace the line about the progress on stderr."""
    sys.stderr.write(f"\r{line:78.78}\r")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
