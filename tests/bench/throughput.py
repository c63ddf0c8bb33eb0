"""How many requests a second are answered, beside a yardstick: python -m tests.bench.throughput --yardstick FOLDER.

A yardstick is a server of the same API, written by hand to do the same work with nothing in the way. It stands outside
of the repository, in a folder with a program `run BASE_URL POSTGRES_DSN --rounds N --seconds N --json FILE`, which
fills both servers through their API, loads them in turn, one scenario after the other, and writes {scenario: [ours, the
yardstick's]}. A rate tells as much of the machine as of the service: the ratio of the two tells of the service alone.
"""

import json
import os
import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import quote

from promo_api.sandbox import SandboxError
from promo_api.sandbox.ports import listen
from tests.bench.surroundings import surroundings
from tests.e2e.server import Server

# What is the yardstick's at least; None: there is no bound.
RATIO_MIN: Mapping[str, float | None] = {
    "ping": None,
    "profile": 0.35,
    "feed": 0.5,
    "promo": 0.35,
    "list": 0.35,
    "like": 0.35,
    "comment": None,
    "comments": 0.35,
    "activate-spread": 0.4,
    "activate-hot": 0.4,
    "activate-unique": 0.4,
    "history": 0.5,
    "stat": 0.35,
    "create": 0.4,
    "sign-in": 0.95,
}
SPREAD_MAX = 4.0

# It listens there, and nowhere else.
_YARDSTICK_PORT = 8099
_NO_YARDSTICK = """\
How many requests a second the service answers is told beside a yardstick: a server of the same API, written by hand,
that stands outside of the repository with its load program. None was named, so this table is left out; with one it is
made by: make bench YARDSTICK=FOLDER"""


class Load(NamedTuple):
    """What one server did under a load, in the round whose rate is the median of all rounds."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: of the scenario.
        ours: what the service did.
        yardstick: what the yardstick did.
        ratio_min: how many requests a second the service is to answer, as a part of those of the yardstick; None: any.
    """

    name: str
    ours: Load
    yardstick: Load
    ratio_min: float | None

    @property
    def ratio(self) -> float:
        """How many requests a second the service answered, as a part of those of the yardstick."""
        return self.ours.requests_per_s / self.yardstick.requests_per_s

    @property
    def spread(self) -> float:
        """How much longer the slow answers took than those in the middle."""
        return self.ours.p99_ms / self.ours.p50_ms

    @property
    def failed(self) -> int:
        """How many requests failed: of either server, for what refuses its work is no yardstick."""
        return self.ours.failed + self.yardstick.failed

    @property
    def unmet(self) -> list[str]:
        """What does not keep its bound."""
        kept = {
            "ratio": self.ratio >= (self.ratio_min or 0),
            "p99/p50": self.spread <= SPREAD_MAX,
            "failed": not self.failed,
        }
        return [name for name, holds in kept.items() if not holds]

    def __str__(self) -> str:
        """Return the row as a line for people."""
        wanted = "-" if self.ratio_min is None else f"{self.ratio_min:.2f}"
        rates = f"{self.ours.requests_per_s:8.0f}{self.yardstick.requests_per_s:11.0f}{self.ratio:7.2f}{wanted:>8}"
        times = f"{self.ours.p50_ms:9.2f}{self.ours.p99_ms:9.2f}{self.spread:9.1f}"
        verdict = f"NOT MET: {', '.join(self.unmet)}" if self.unmet else "met"
        return f"{self.name:16}{rates}{times}{self.failed:8}  {verdict}"


def rows(measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Row]:
    """Return the rows of the table, of what the yardstick's program wrote; ValueError if a scenario is missing."""
    missing = RATIO_MIN.keys() - measured.keys()
    if missing:
        raise ValueError(f"The yardstick has not measured {', '.join(sorted(missing))}.")
    return [Row(name, *map(_load, measured[name]), ratio_min) for name, ratio_min in RATIO_MIN.items()]


def _load(told: Mapping[str, Any]) -> Load:
    return Load(told["rate"], told["p50"], told["p99"], told["bad"] + told["timeouts"])


@contextmanager
def served(folder: Path) -> Iterator[tuple[Server, str]]:
    """Serve the API with two workers; return it, and the DSN of an empty database for the yardstick beside its own."""
    with surroundings(folder) as (postgres, environment):
        for name in ("promo", "yardstick"):
            postgres.create_database(name)
        dsn = f"postgresql://{postgres.username}@/yardstick?host={quote(postgres.host, safe='')}&port={postgres.port}"
        with Server(environment | {"POSTGRES_DATABASE": "promo"}, folder) as server:
            yield server, dsn


def run(program: Path, *arguments: str) -> int:
    """Run the yardstick's program, show on stderr what it says, and return its exit status; nothing is left running."""
    process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        # Its server writes there too, so that the end of it is the end of both.
        for line in process.stdout:
            sys.stderr.write(line)
        return process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def main() -> None:
    """Measure, and tell."""
    program, rounds, seconds = _arguments()
    try:
        listen("127.0.0.1", _YARDSTICK_PORT).close()
    except SandboxError as error:
        sys.exit(f"The yardstick can't be run, for it listens on that port and no other: {error}")
    _tell(
        f"Two workers each, one PostgreSQL; {rounds} rounds of {seconds} s in turn, of which the one in the middle, by"
    )
    _tell(f"its rate, counts. Times in ms. Wanted too: p99/p50 at most {SPREAD_MAX:.0f}, and no request that failed.\n")
    with TemporaryDirectory(prefix="promo-bench-", ignore_cleanup_errors=True) as name:
        file = Path(name) / "measured.json"
        with served(Path(name)) as (server, dsn):
            options = ["--rounds", str(rounds), "--seconds", str(seconds), "--json", str(file)]
            status = run(program, f"{server.url}/api", dsn, *options)
        if status:
            sys.exit(f"The yardstick ended with status {status}.")
        table = rows(json.loads(file.read_text()))
    _tell(
        f"{'':16}{'ours/s':>8}{'yardstick/s':>12}{'ratio':>6}{'wanted':>8}{'p50':>9}{'p99':>9}{'p99/p50':>9}{'failed':>8}"
    )
    for row in table:
        _tell(str(row))


def _arguments() -> tuple[Path, int, int]:
    """Return the yardstick's program, the number of rounds, and the seconds of a round."""
    parser = ArgumentParser(prog="python -m tests.bench.throughput", description="How many requests a second.")
    parser.add_argument("--yardstick", default="", metavar="FOLDER", help="where its program `run` is")
    parser.add_argument("--rounds", type=int, default=3, help="of each scenario and server")
    parser.add_argument("--seconds", type=int, default=4, help="how long each round takes")
    given = parser.parse_args()
    if not given.yardstick:
        _tell(_NO_YARDSTICK)
        sys.exit(0)
    program = Path(given.yardstick).resolve() / "run"
    if not program.is_file():
        parser.error(f"{given.yardstick} is no yardstick: it has no program called run.")
    return program, given.rounds, given.seconds


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
