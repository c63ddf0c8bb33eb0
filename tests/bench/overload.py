"""Honest clients while abusive clients run, one after another: python -m tests.bench.overload.

One server with two workers, password hashes and limits as by default, and at most 1,024 open files. Honest clients send
requests at a small fixed rate. Each row of the table runs one abusive client in a separate process, with a few quiet
seconds before it. A row is met if honest clients are served in time and the memory of the workers returns.
"""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import psutil

from tests.bench import overload_abusers as abusers
from tests.bench.client import ADDRESS_HEADER, Endpoint
from tests.bench.output import write_line
from tests.bench.overload_clients import HonestClients, Stream
from tests.bench.overload_data import fill, streams
from tests.bench.overload_samples import (
    FEED,
    HEADER,
    MAX_PIPELINED_MB,
    PING,
    Memory,
    Outcome,
    percentile,
    worst,
)
from tests.bench.servers import embedded_servers
from tests.e2e.server import Server

_CALM_S = 3.0
# A request may keep the server busy after the client has disconnected.
_OBSERVED_MIN_S = 5.0
_OBSERVED_AFTER_S = 1.0
_MEMORY_AFTER_S = 10.0
_MEMORY_SAMPLE_S = 0.1
_OPEN_FILES = 1024
_HONEST_ADDRESS, _ABUSIVE_ADDRESS = "127.0.0.2", "127.0.0.3"
_LIMITED = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({_OPEN_FILES}, {_OPEN_FILES}))
os.execv(sys.argv[1], sys.argv[1:])
"""


class Row(NamedTuple):
    """An abusive client.

    Attributes:
        abuse: what it does.
        title: a description.
        reads_feed: whether honest clients also read a feed of active promos.
        grown_max_mb: as in `Outcome`.
    """

    abuse: abusers.Abuse
    title: str
    reads_feed: bool = False
    grown_max_mb: float | None = None


ROWS = {
    "lists-closed": Row(abusers.close_lists, "400 lists, connection closed at once"),
    "lists-open": Row(abusers.open_lists, "300 lists, connection kept open"),
    "deep-comments": Row(abusers.read_deep_comments, "1,500 pages of comments at offsets 299,990 and 150,000"),
    "pipelining": Row(abusers.pipeline, "40 x 9,700 requests, nothing read", grown_max_mb=MAX_PIPELINED_MB),
    "activations": Row(abusers.activate_at_once, "200 activations at once, anti-fraud takes 300 ms"),
    "sign-ins": Row(abusers.sign_in_often, "150 sign-ins a second to one account"),
    "passwords": Row(abusers.change_password_often, "150 password changes a second"),
    "wide-lists": Row(abusers.read_wide_lists, "50 lists of control characters, read slowly by some"),
    "export": Row(abusers.export, "export of 100,000 comments, all portions"),
    "deletion": Row(abusers.delete_account, "deletion of 100,000 comments, with likes and activations"),
    "idle": Row(abusers.stay_idle, "2,300 idle connections"),
    "promos": Row(abusers.create_promos, "771 inactive promos a second", reads_feed=True),
}


class MemoryWatch:
    """The RSS of each worker in MB over time, for the time of a block."""

    def __init__(self, workers: list[psutil.Process]) -> None:
        self._samples: dict[psutil.Process, list[tuple[float, float]]] = {worker: [] for worker in workers}
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Start to sample."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    def memory(self, abuse_s: float) -> list[Memory]:
        """Return the memory of each worker; the abuse began at `abuse_s`, by time.monotonic."""
        return [
            Memory(worst(mb for at_s, mb in samples if at_s <= abuse_s), max(mb for _, mb in samples), samples[-1][1])
            for samples in self._samples.values()
        ]

    def _run(self) -> None:
        while True:
            for worker, samples in self._samples.items():
                with suppress(psutil.NoSuchProcess):
                    samples.append((time.monotonic(), worker.memory_info().rss / 1e6))
            if self._stop.wait(_MEMORY_SAMPLE_S):
                return


def main() -> int:
    """Run the rows, print the table, and return the exit status: 1 if a row is not met."""
    arguments = _arguments()
    names = [arguments.only] if arguments.only else list(ROWS)
    write_line("Honest clients while an abusive client runs. Times in ms, memory in MB.\n")
    failed = 0
    with _served(arguments) as server, HonestClients() as clients:
        honest, abusive = _endpoints(arguments, server.port)
        site = fill(server, abusive)
        requested = streams(server, site.busy_promo)
        write_line(HEADER)
        with ProcessPoolExecutor(1, get_context("spawn")) as processes:
            processes.submit(time.sleep, 0).result()
            for name in names:
                failed += not _run_row(name, server, clients, honest, requested, site, processes)
    write_line(f"\n{len(names) - failed} of {len(names)} rows met.")
    return 1 if failed else 0


def _run_row(
    name: str,
    server: Server,
    clients: HonestClients,
    endpoint: Endpoint,
    requested: tuple[Stream, ...],
    site: abusers.Site,
    processes: ProcessPoolExecutor,
) -> bool:
    """Run one row, print it, and return whether it is met."""
    row, workers = ROWS[name], server.workers()
    clients.start(endpoint, tuple(each for each in requested if row.reads_feed or each.kind != FEED))
    with MemoryWatch(workers) as watch:
        time.sleep(_CALM_S)
        started_s = time.monotonic()
        tally = processes.submit(abusers.run, row.abuse, site).result()
        ended_s = time.monotonic()
        time.sleep(max(_OBSERVED_AFTER_S, started_s + _OBSERVED_MIN_S - ended_s))
        samples = clients.stop()
        time.sleep(max(0, ended_s + _MEMORY_AFTER_S - time.monotonic()))
    killed = len({*workers} - {*server.workers()})
    calm = [sample for sample in samples if sample.sent_s < started_s]
    during = [sample for sample in samples if sample.sent_s >= started_s]
    outcome = Outcome(during, watch.memory(started_s), tally[abusers.CUT], killed, row.grown_max_mb)
    write_line(f"{name:24}{outcome}")
    write_line(f"  {row.title}; {abusers.described(tally)}")
    write_line(f"  {_described(Outcome(calm, outcome.memory), outcome)}")
    return not outcome.broken()


def _described(calm: Outcome, outcome: Outcome) -> str:
    """Return further figures: the feed, failed honest requests, and the ping before the abuse."""
    words = [f"before it: ping worst {worst(calm.took_s(PING)) * 1000:.0f}"]
    if feed := outcome.took_s(FEED):
        words.append(f"feed p99 {percentile(feed, 99) * 1000:.0f}, worst {worst(feed) * 1000:.0f}")
    refused = abusers.Tally(f"{each.kind} {each.status}" for each in outcome.samples if each.status != 200)
    if refused:
        words.append(f"honest requests not served: {abusers.described(refused)}")
    return "; ".join(words)


@contextmanager
def _served(arguments: Namespace) -> Iterator[Server]:
    with (
        TemporaryDirectory(prefix="promo-bench-", ignore_cleanup_errors=True) as folder,
        embedded_servers(Path(folder)) as (postgres, environment),
    ):
        postgres.create_database("promo")
        settings = environment | {"POSTGRES_DATABASE": "promo"}
        del settings["ACTIVATIONS_PER_USER"]
        if arguments.base_url:
            settings["CLIENT_ADDRESS_HEADER"] = ADDRESS_HEADER
        server = Server(settings, Path(folder), arguments.port)
        server.around = [sys.executable, "-c", _LIMITED]
        with server:
            yield server


def _endpoints(arguments: Namespace, port: int) -> tuple[Endpoint, Endpoint]:
    """Return where honest and abusive clients connect to, and from which addresses."""
    url = urlsplit(arguments.base_url or f"http://127.0.0.1:{port}")
    is_tls, host = url.scheme == "https", url.hostname or "127.0.0.1"
    endpoint = Endpoint(url.port or (443 if is_tls else 80), host, is_tls)
    if not host.startswith("127."):
        return endpoint, endpoint
    abusive = _HONEST_ADDRESS if arguments.one_address else _ABUSIVE_ADDRESS
    return endpoint._replace(source=_HONEST_ADDRESS), endpoint._replace(source=abusive)


def _arguments() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.bench.overload", description="Honest clients beside abusive ones.")
    parser.add_argument("--only", choices=ROWS, help="run one row")
    parser.add_argument("--port", type=int, help="port of the server; needed by a proxy in front of it")
    parser.add_argument("--base-url", help=f"proxy that all clients use; it must set {ADDRESS_HEADER}")
    parser.add_argument("--one-address", action="store_true", help="all clients have the same address")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
