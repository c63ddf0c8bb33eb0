"""Requests a second compared with a yardstick: python -m tests.bench.throughput --yardstick FOLDER.

A yardstick is a minimal server of the same API that does the same work. It is not part of the repository. Its folder
has a program `run BASE_URL POSTGRES_DSN --rounds N --seconds N --json FILE`, which fills both servers through the API,
loads them in turn for each scenario, and writes {scenario: [ours, yardstick]}. Rates depend on the machine; the ratio
of the two rates does not.
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

from promo_api.dev.embedded import DevError
from promo_api.dev.ports import listen
from tests.bench.output import write_line
from tests.bench.servers import embedded_servers
from tests.e2e.server import Server

# The lowest ratio of our rate to the yardstick's; None: no limit.
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

# The fixed port of the yardstick.
_YARDSTICK_PORT = 8099
_NO_YARDSTICK = """\
The throughput benchmark compares the service with a yardstick: a minimal server of the same API with a load program,
which is not part of this repository. No yardstick was set, so this benchmark is skipped. To run it:
make bench YARDSTICK=FOLDER"""


class Load(NamedTuple):
    """The measurements of one server, in the round with the median rate."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: of the scenario.
        ours: the measurements of the service.
        yardstick: the measurements of the yardstick.
        ratio_min: the limit of `ratio`; None: no limit.
    """

    name: str
    ours: Load
    yardstick: Load
    ratio_min: float | None

    @property
    def ratio(self) -> float:
        """Our rate relative to the yardstick's."""
        return self.ours.requests_per_s / self.yardstick.requests_per_s

    @property
    def spread(self) -> float:
        """p99 relative to p50."""
        return self.ours.p99_ms / self.ours.p50_ms

    @property
    def failed(self) -> int:
        """Failed requests of both servers. A yardstick with failures proves nothing."""
        return self.ours.failed + self.yardstick.failed

    @property
    def unmet(self) -> list[str]:
        """The names of the limits that are not met."""
        checks = {
            "ratio": self.ratio >= (self.ratio_min or 0),
            "p99/p50": self.spread <= SPREAD_MAX,
            "failed": not self.failed,
        }
        return [name for name, is_met in checks.items() if not is_met]

    def __str__(self) -> str:
        """Return the row of the table."""
        required = "-" if self.ratio_min is None else f"{self.ratio_min:.2f}"
        rates = f"{self.ours.requests_per_s:8.0f}{self.yardstick.requests_per_s:11.0f}{self.ratio:7.2f}{required:>8}"
        times = f"{self.ours.p50_ms:9.2f}{self.ours.p99_ms:9.2f}{self.spread:9.1f}"
        verdict = f"NOT MET: {', '.join(self.unmet)}" if self.unmet else "met"
        return f"{self.name:16}{rates}{times}{self.failed:8}  {verdict}"


def rows(measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Row]:
    """Return the rows of the table from the output of `run`; raise ValueError if a scenario is missing."""
    missing = RATIO_MIN.keys() - measured.keys()
    if missing:
        raise ValueError(f"The yardstick did not measure {', '.join(sorted(missing))}.")
    return [Row(name, *map(_load, measured[name]), ratio_min) for name, ratio_min in RATIO_MIN.items()]


def _load(result: Mapping[str, Any]) -> Load:
    return Load(result["rate"], result["p50"], result["p99"], result["bad"] + result["timeouts"])


@contextmanager
def served(folder: Path) -> Iterator[tuple[Server, str]]:
    """Serve the API with two workers; also return the DSN of an empty database for the yardstick."""
    with embedded_servers(folder) as (postgres, environment):
        for name in ("promo", "yardstick"):
            postgres.create_database(name)
        dsn = f"postgresql://{postgres.username}@/yardstick?host={quote(postgres.host, safe='')}&port={postgres.port}"
        with Server(environment | {"POSTGRES_DATABASE": "promo"}, folder) as server:
            yield server, dsn


def run(program: Path, *arguments: str) -> int:
    """Run the yardstick's program with its output on stderr, end its processes, and return its exit status."""
    process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        # Its server inherits stdout, so the end of the output is the end of both.
        for line in process.stdout:
            sys.stderr.write(line)
        return process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def main() -> None:
    """Measure, and print the table."""
    program, rounds, seconds = _arguments()
    try:
        listen("127.0.0.1", _YARDSTICK_PORT).close()
    except DevError as error:
        sys.exit(f"The yardstick cannot run, because its port is fixed. {error}")
    write_line(f"Two workers each, one PostgreSQL; {rounds} rounds of {seconds} s in turn; the round with the median")
    write_line(f"rate counts. Times in ms. Also required: p99/p50 at most {SPREAD_MAX:.0f}, and no failed request.\n")
    with TemporaryDirectory(prefix="promo-bench-", ignore_cleanup_errors=True) as name:
        file = Path(name) / "result.json"
        with served(Path(name)) as (server, dsn):
            arguments = ["--rounds", str(rounds), "--seconds", str(seconds), "--json", str(file)]
            status = run(program, f"{server.url}/api", dsn, *arguments)
        if status:
            sys.exit(f"The yardstick ended with status {status}.")
        table = rows(json.loads(file.read_text()))
    write_line(
        f"{'':16}{'ours/s':>8}{'yardstick/s':>12}{'ratio':>6}{'min':>8}{'p50':>9}{'p99':>9}{'p99/p50':>9}{'failed':>8}"
    )
    for row in table:
        write_line(str(row))


def _arguments() -> tuple[Path, int, int]:
    """Return the yardstick's program, the number of rounds, and the seconds of a round."""
    parser = ArgumentParser(
        prog="python -m tests.bench.throughput", description="Requests/s compared with a yardstick."
    )
    parser.add_argument("--yardstick", default="", metavar="FOLDER", help="folder with the program `run`")
    parser.add_argument("--rounds", type=int, default=3, help="number for each scenario and server")
    parser.add_argument("--seconds", type=int, default=4, help="duration of each round")
    options = parser.parse_args()
    if not options.yardstick:
        write_line(_NO_YARDSTICK)
        sys.exit(0)
    program = Path(options.yardstick).resolve() / "run"
    if not program.is_file():
        parser.error(f"{options.yardstick} is not a yardstick: it has no program named run.")
    return program, options.rounds, options.seconds


if __name__ == "__main__":
    main()
