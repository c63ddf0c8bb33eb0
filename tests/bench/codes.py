"""A million codes by CSV, by generation and as an export, next to other requests: python -m tests.bench.codes.

The server has two workers and shares the processors with PostgreSQL and the clients. The times are from the first byte
of the request to the finished job, or to the last byte of the export. One client sends claims and reads meanwhile. At
the end, claims and reads of this promo are compared with those of a promo with a thousand codes.
"""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter
from typing import Any

import promo_api.contract  # noqa: F401 hides warnings of the imports below
from tests.accounts import Account
from tests.bench.output import write_line
from tests.bench.servers import embedded_servers
from tests.e2e.server import Server

IMPORT_MAX_S, GENERATE_MAX_S, EXPORT_MAX_S = 40, 40, 20
GROWTH_MAX_MB, P99_RATIO_MAX, SIZE_RATIO_MAX = 30, 2.0, 1.3

_PAUSE_S = 0.02
_QUIET_S = 10
_POLL_S = 0.25
_CHUNK_BYTES = 64 * 1024
_TIMEOUT_S = 600
_SMALL, _COMPARED = 1000, 600


@dataclass
class Result:
    """The figures of one phase."""

    name: str
    seconds: float
    limit_s: float
    growth_mb: float
    p99_ms: float


class Prober:
    """A client that activates, reads and lists at a fixed pace, in another process."""

    def __init__(self, port: int, user: Account, company: Account, promo_id: str, large_id: str) -> None:
        requests = [
            ("POST", f"/api/user/promo/{promo_id}/activate", user.token),
            ("GET", "/api/user/feed", user.token),
            ("GET", f"/api/business/promo/{large_id}", company.token),
        ]
        context = get_context("spawn")
        self._ended, self._p99_ms = context.Event(), context.SimpleQueue()
        self._process = context.Process(target=_probe, args=(port, requests, self._ended, self._p99_ms), daemon=True)

    def start(self) -> None:
        """Start the process."""
        self._process.start()

    def end(self) -> float:
        """End the process, and return the 99th percentile of the response times, in ms."""
        self._ended.set()
        p99_ms: float = self._p99_ms.get()
        self._process.join()
        return p99_ms


def _probe(port: int, requests: list[tuple[str, str, str]], ended: Any, p99_ms: Any) -> None:
    connection, samples_ms = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S), []
    while not ended.wait(_PAUSE_S):
        method, path, token = requests[len(samples_ms) % len(requests)]
        began_s = perf_counter()
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        response.read()
        assert response.status == 200, f"{path}: {response.status}"
        samples_ms.append(1000 * (perf_counter() - began_s))
    p99_ms.put(quantiles(samples_ms, n=100)[98])


def rows(count: int) -> Iterator[bytes]:
    """Yield a CSV file in chunks: a BOM, CRLF, and a duplicate, a blank line and a broken row in each thousand."""
    buffer = bytearray(b"\xef\xbb\xbfcode;note\r\n")
    for number in range(count):
        # Not in order, because the index of values would then be too cheap.
        buffer += b"BENCH-%010d;note\r\n" % (number * 7_368_787 % 10_000_000_019)
        if number % 1000 == 999:
            buffer += b"BENCH-0000000000;again\r\n\r\nno;short\r\n"
        if len(buffer) >= _CHUNK_BYTES:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)


class Bench:
    """One server, with a company and its promo."""

    def __init__(self, server: Server, count: int) -> None:
        self._server, self._count = server, count
        self._company, self._user = server.accounts.sign_up_company(), server.accounts.sign_up_user()
        self._promo_id = self._company.create_promo(promo_unique=["first"])
        self._common_id = self._company.create_promo(max_count=100_000_000)
        self._quiet_ms = 0.0

    def run(self) -> Iterator[Result]:
        """Yield the figures of each phase."""
        idle = Event()
        self._quiet_ms = self._measure("quiet", _QUIET_S, lambda: idle.wait(_QUIET_S)).p99_ms
        yield Result("no job", _QUIET_S, _QUIET_S, 0.0, self._quiet_ms)
        yield self._measure("import", IMPORT_MAX_S, self._import)
        yield self._measure("generate", GENERATE_MAX_S, self._generate)
        yield self._measure("export", EXPORT_MAX_S, self._export)

    def compare(self) -> Iterator[str]:
        """Yield a line for each request whose time could depend on the number of codes."""
        small_id = self._company.create_promo(promo_unique=[f"small-{number}" for number in range(_SMALL)])
        for name, kind, path, account in (
            ("claim", "POST", "/user/promo/{}/activate", self._user),
            ("GET promo", "GET", "/business/promo/{}", self._company),
        ):
            samples_ms: dict[str, list[float]] = {small_id: [], self._promo_id: []}
            for number in range(2 * _COMPARED):
                promo_id = [*samples_ms][number % 2]
                began_s = perf_counter()
                response = account.api.call(kind, path.format(promo_id), token=account.token)
                samples_ms[promo_id].append(1000 * (perf_counter() - began_s))
                assert response.status_code == 200, response.text
            small_ms, large_ms = map(median, samples_ms.values())
            ratio = large_ms / small_ms
            yield (
                f"{name}: median {large_ms:.2f} ms, with {_SMALL} codes {small_ms:.2f} ms, {ratio:.2f} times as long"
                f" (at most {SIZE_RATIO_MAX}): {_verdict(ratio <= SIZE_RATIO_MAX)}."
            )

    def _measure(self, name: str, limit_s: float, work: Callable[[], object]) -> Result:
        prober = Prober(self._server.port, self._user, self._company, self._common_id, self._promo_id)
        with _peak_memory(self._server) as growth_mb:
            prober.start()
            began_s = perf_counter()
            work()
            seconds = perf_counter() - began_s
        return Result(name, seconds, limit_s, growth_mb[0], prober.end())

    def _import(self) -> None:
        job = self._finish(self._send("POST", "/codes", rows(self._count), {"Content-Type": "text/csv"}))
        thousands = self._count // 1000
        expected = {"accepted": self._count, "duplicates": thousands, "rejected": thousands}
        assert {name: job[name] for name in expected} == expected, job

    def _generate(self) -> None:
        body = {"count": self._count, "pattern": "SPRING-####-####-####"}
        headers = {"Content-Type": "application/json"}
        job = self._finish(self._send("POST", "/codes/generate", json.dumps(body).encode(), headers))
        assert job["accepted"] == self._count, job

    def _export(self) -> None:
        # Unlike the others, it has all codes: those of the import and the generated ones.
        content = self._send("GET", "/codes?state=available", None, {"Accept": "text/csv"})
        assert content.count(b"\r\n") >= self._count, content[:200]

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> bytes:
        connection = HTTPConnection("127.0.0.1", self._server.port, timeout=_TIMEOUT_S)
        headers = {**headers, "Authorization": f"Bearer {self._company.token}"}
        connection.request(method, f"/api/business/promo/{self._promo_id}{path}", body, headers)
        response = connection.getresponse()
        content = response.read()
        assert response.status in {200, 202}, content[:500]
        return content

    def _finish(self, accepted: bytes) -> dict[str, Any]:
        path, poll = f"/business/jobs/{json.loads(accepted)['id']}", Event()
        while True:
            job: dict[str, Any] = self._company.get(path).json()
            if "finished_at" in job:
                return job
            poll.wait(_POLL_S)


@contextmanager
def _peak_memory(server: Server) -> Iterator[list[float]]:
    """Yield a list, whose entry is at the end the largest growth of the memory of a worker, in MB."""
    workers, ended, growth_mb = server.workers(), Event(), [0.0]
    before = {worker.pid: worker.memory_info().rss for worker in workers}

    def sample() -> None:
        while not ended.wait(_POLL_S):
            growth_mb[0] = max(
                growth_mb[0], *((worker.memory_info().rss - before[worker.pid]) / 1e6 for worker in workers)
            )

    thread = Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield growth_mb
    finally:
        ended.set()
        thread.join()


def _line(result: Result, quiet_ms: float) -> str:
    ratio = result.p99_ms / quiet_ms
    met = result.seconds <= result.limit_s and result.growth_mb <= GROWTH_MAX_MB and ratio <= P99_RATIO_MAX
    return (
        f"{result.name:10} {result.seconds:6.1f} s (at most {result.limit_s:.0f}); a worker grew by"
        f" {result.growth_mb:.1f} MB (at most {GROWTH_MAX_MB}); p99 of other requests {result.p99_ms:.1f} ms,"
        f" {ratio:.1f} times as long (at most {P99_RATIO_MAX:.0f}): {_verdict(met)}."
    )


def _verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


def main() -> None:
    """Run the benchmark."""
    parser = ArgumentParser(description=__doc__, prog="python -m tests.bench.codes")
    parser.add_argument("--count", type=int, default=1_000_000, help="the number of codes")
    count = parser.parse_args().count
    with TemporaryDirectory(prefix="promo-bench-") as folder, embedded_servers(Path(folder)) as (postgres, settings):
        postgres.create_database("promo")
        with Server(settings | {"POSTGRES_DATABASE": "promo"}, Path(folder)) as server:
            quiet_ms = 0.0
            bench = Bench(server, count)
            for result in bench.run():
                quiet_ms = quiet_ms or result.p99_ms
                write_line(_line(result, quiet_ms))
            for line in bench.compare():
                write_line(line)


if __name__ == "__main__":
    sys.exit(main())
