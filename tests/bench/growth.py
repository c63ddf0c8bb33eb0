"""How the time of an answer grows with what is stored: python -m tests.bench.growth.

Each row of the table is asked for by one client, where there is little and where there is much in turn, in one run: on
a machine that does other things too, only what was measured at the same time can be compared. A feed, which is made
from the promos of all, is asked for on a small database and on a large one; what belongs to one company, promo or user
on the large one alone: of one with little and of one with much.
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
from tests.bench.filled import ANSWER_MAX_S, Filled, filled

SMALL = Size(promos=1_000, users=1_000, activations=10_000)
LARGE = Size(promos=1_000_000, users=1_000_000, activations=10_000_000)

_ROW_S = 60.0
_ROUNDS = 10
_OFFSET = 10_000


@dataclass(frozen=True)
class Question:
    """A GET that is asked again and again.

    Attributes:
        port: of the server that is asked, on this machine.
        path: what is asked, below /api.
        token: who asks.
        total: how many things there are, as the answer must say; None: it is not known.
    """

    port: int
    path: str
    token: str
    total: int | None = None


@dataclass
class Row:
    """One row of the table: what is asked where there is little and where there is much, and how long it took.

    Attributes:
        name: for people.
        ratio_max: how many times as long it may take where there is much.
        little: what is asked where there is little.
        much: what is asked where there is much.
        little_ms: of each answer.
        much_ms: of each answer.
    """

    name: str
    ratio_max: float
    little: Question
    much: Question
    little_ms: list[float] = field(default_factory=list)
    much_ms: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """How many times as long it took where there is much."""
        return median(self.much_ms) / median(self.little_ms)

    def __str__(self) -> str:
        """Return the row as a line for people."""
        met = "met" if self.ratio <= self.ratio_max else "NOT MET"
        times = f"{median(self.little_ms):10.2f}{median(self.much_ms):10.2f}"
        return f"{self.name:60}{times}{self.ratio:8.1f}{self.ratio_max:8.0f}  {met}"


def rows(small: Filled, large: Filled) -> list[Row]:
    """Return the rows of the table, of which nothing has been measured yet."""
    return [*_feed_rows(small, large), *_company_rows(large), _stat_row(large), _history_row(large)]


def _feed_rows(small: Filled, large: Filled) -> Iterator[Row]:
    def feed(server: Filled, query: str, total: int | None = None) -> Question:
        return Question(server.port, f"/user/feed?{query}", server.token("user", 2), total)

    first = feed(small, "limit=10", small.feed_total)
    yield Row("feed, first page", 2, first, feed(large, "limit=10", large.feed_total))
    for query in ("active=true", "active=false", f"category={COMMON_CATEGORY}", f"category={RARE_CATEGORY}"):
        yield Row(f"feed, {query}", 5, feed(small, query), feed(large, query))
    deep = feed(large, f"offset={_OFFSET}", large.feed_total)
    yield Row(f"feed, offset={_OFFSET}, against the first page", 5, first, deep)


def _company_rows(large: Filled) -> Iterator[Row]:
    def promos(number: int, query: str, total: int | None = None) -> Question:
        return Question(large.port, f"/business/promo?{query}", large.token("company", number), total)

    much = large.size.company_promos
    for order in ("sort_by=active_from", "sort_by=active_until"):
        little = promos(2, order, FEW_PROMOS)
        yield Row(f"company list of {much:,}, {order}", 3, little, promos(1, order, much))
    country = f"country={READER_COUNTRY}"
    for query in (country, f"sort_by=active_from&{country}", f"sort_by=active_until&{country}"):
        yield Row(f"company list of {much:,}, {query}", 3, promos(2, query), promos(1, query))


def _stat_row(large: Filled) -> Row:
    def stat(number: int, total: int) -> Question:
        # Promo 1 is company 1's, promo 2 is company 2's.
        path = f"/business/promo/{large.promo_id(number)}/stat"
        return Question(large.port, path, large.token("company", number), total)

    much = large.size.promo_activations
    return Row(f"stat of a promo with {much:,} activations", 2, stat(2, FEW_PROMO_ACTIVATIONS), stat(1, much))


def _history_row(large: Filled) -> Row:
    def history(number: int, total: int) -> Question:
        return Question(large.port, "/user/promo/history", large.token("user", number), total)

    much = large.size.user_activations
    little = history(2, FEW_USER_ACTIVATIONS)
    return Row(f"history of a user with {much:,} activations", 2, little, history(1, much))


def measure(row: Row, duration_s: float) -> None:
    """Ask the questions of a row in turn, and note how long the answers take.

    Args:
        row: what is asked.
        duration_s: how long it takes in all; before that each question is asked for half a round, which counts not.
    """
    turn_s = duration_s / _ROUNDS / 2
    for question in (row.little, row.much):
        _asked_ms(question, turn_s)
    for _ in range(_ROUNDS):
        row.little_ms += _asked_ms(row.little, turn_s)
        row.much_ms += _asked_ms(row.much, turn_s)


def _asked_ms(question: Question, duration_s: float) -> list[float]:
    """Ask one question for some time, once at least, and return how long each answer took."""
    connection = HTTPConnection("127.0.0.1", question.port, timeout=ANSWER_MAX_S)
    header = {"Authorization": f"Bearer {question.token}"}
    times: list[float] = []
    until = perf_counter() + duration_s
    try:
        while not times or perf_counter() < until:
            began = perf_counter()
            connection.request("GET", f"/api{question.path}", headers=header)
            answer = connection.getresponse()
            body = answer.read()
            times.append((perf_counter() - began) * 1000)
            _check(question, answer.status, answer.headers.get("X-Total-Count"), body)
    finally:
        connection.close()
    return times


def _check(question: Question, status: int, total: str | None, body: bytes) -> None:
    """Make certain that the answer is right: a wrong one may be as fast as one likes."""
    if status != 200:
        raise RuntimeError(f"{question.path} was answered with {status}.")
    if question.total is not None:
        told = json.loads(body)["activations_count"] if total is None else int(total)
        if told != question.total:
            raise RuntimeError(f"{question.path} tells of {told:,} where there are {question.total:,}.")


def main() -> None:
    """Measure, and tell."""
    size, row_s = _arguments()
    needed_bytes, free_bytes = SMALL.disk_bytes + size.disk_bytes, shutil.disk_usage(gettempdir()).free
    if free_bytes < needed_bytes:
        room = f"{needed_bytes / 1e9:.0f} GB, and {gettempdir()} has {free_bytes / 1e9:.0f} GB left"
        sys.exit(f"This needs {room}. Set TMPDIR to a folder with more room, or ask for fewer rows.")
    _tell(f"{size.promos:,} promos, {size.users:,} users and {size.activations:,} activations, beside")
    _tell(f"{SMALL.promos:,} promos, {SMALL.users:,} users and {SMALL.activations:,} activations. One client,")
    _tell(f"two workers each; {row_s:.0f} s for each row, in {_ROUNDS} rounds in turn. Medians, in ms.\n")
    # Not all may be gone at the end: PostgreSQL may still be writing when it has been told to stop at once.
    with (
        TemporaryDirectory(prefix="promo-bench-", ignore_cleanup_errors=True) as folder,
        filled(Path(folder), [SMALL, size], _progress) as (small, large),
    ):
        _tell(f"{'':60}{'little':>10}{'much':>10}{'ratio':>8}{'bound':>8}")
        for row in rows(small, large):
            _progress(row.name)
            measure(row, row_s)
            _tell(str(row))


def _arguments() -> tuple[Size, float]:
    parser = ArgumentParser(prog="python -m tests.bench.growth", description="How the time of an answer grows.")
    parser.add_argument("--promos", type=int, default=LARGE.promos, help="a multiple of 1,000")
    parser.add_argument("--users", type=int, default=LARGE.users, help="a multiple of 1,000")
    parser.add_argument("--activations", type=int, default=LARGE.activations, help="a multiple of 10,000")
    parser.add_argument("--row-s", type=float, default=_ROW_S, help="how long each row is measured, in seconds")
    given = parser.parse_args()
    try:
        return Size(promos=given.promos, users=given.users, activations=given.activations), given.row_s
    except ValueError as error:
        parser.error(str(error))


def _tell(line: str) -> None:
    _progress("")
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _progress(line: str) -> None:
    """Show what is being done, in the place of what was shown before."""
    sys.stderr.write(f"\r{line:78.78}\r")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
