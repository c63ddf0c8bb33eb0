"""The memory of each worker under mixed load for ten minutes: python -m tests.bench.memory.

The limits apply to the RSS. The PSS counts shared memory proportionally, and the USS not at all. Linux only; in MB of
1,000,000 bytes.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil

import promo_api.contract  # noqa: F401 hides warnings of the imports below
from promo_api.security.tokens import Tokens
from tests.accounts import PASSWORD, Account, promo_body
from tests.bench.load import CONNECTIONS, WRK, Request, requests_per_s
from tests.bench.options import parse_minutes
from tests.bench.output import write_line
from tests.bench.servers import SECRET_KEY, embedded_servers
from tests.e2e.server import Server

END_MAX_MB = 150
GROWTH_MAX = 0.03
SAMPLE_S = 10
MINUTE_SAMPLES = 60 // SAMPLE_S

_PROMOS = 100
_USERS = 250
_SIGN_IN_USERS = 10
_LIFETIMES_H = range(1, 25)
_FEEDS = ("limit=10", "limit=10&offset=10", "active=true", "category=cats")
# The share of each kind in percent. A sign-in costs twenty times a common request.
_SHARES = {
    "feed": 18, "promo": 16, "profile": 10, "list": 6, "stat": 4, "history": 6, "comments": 6,
    "like": 10, "comment": 6, "activate": 12, "create": 4, "sign-in": 2,
}  # fmt: skip


class Sample(NamedTuple):
    """The memory of a worker, in MB."""

    rss: float
    pss: float
    uss: float


def sample(worker: psutil.Process) -> Sample:
    """Return the current memory of a worker; raise psutil.NoSuchProcess if it has ended."""
    memory = worker.memory_full_info()
    return Sample(memory.rss / 1e6, memory.pss / 1e6, memory.uss / 1e6)


def growth(rss: list[float]) -> float:
    """Return the growth of the median from minutes 3 and 4 to the last two; 0.01 is 1 %."""
    early = rss[2 * MINUTE_SAMPLES : 4 * MINUTE_SAMPLES]
    return median(rss[-2 * MINUTE_SAMPLES :]) / median(early) - 1


def verdict(rss: list[float]) -> str:
    """Return a line that says whether a worker met its limits. `rss` has a sample in MB for each ten seconds."""
    # The median, because the computation of a password hash takes 19 MiB.
    end_mb = median(rss[-2 * MINUTE_SAMPLES :])
    met = end_mb <= END_MAX_MB and growth(rss) <= GROWTH_MAX
    end = f"{end_mb:.1f} MB in the last two minutes, required: at most {END_MAX_MB}"
    increase = f"{growth(rss):+.1%} since minutes 3 and 4, required: at most {GROWTH_MAX:+.0%}"
    return f"{end}; {increase}; {max(rss):.1f} MB peak: {'met' if met else 'NOT MET'}."


class RequestMix:
    """Requests of all kinds, from many users and one company.

    The users have more tokens than fit into the token cache of a worker, so the cache is full.
    """

    def __init__(self, server: Server) -> None:
        self._random = Random(1)  # noqa: S311 the same requests in each run
        self._company = server.accounts.sign_up_company()
        changes = {"max_count": 100_000_000, "image_url": "https://example.com/a.png"}
        self._promos = [self._company.create_promo(**changes) for _ in range(_PROMOS)]
        users = [server.accounts.sign_up_user() for _ in range(_USERS)]
        # Separate users, because a sign-in revokes earlier tokens.
        self._credentials = [json.dumps(_credentials(server.accounts.sign_up_user())) for _ in range(_SIGN_IN_USERS)]
        self._tokens = [token for user in users for token in _tokens(user)]

    def requests(self) -> list[Request]:
        """Return one request for each token; some kinds use the token of the company instead."""
        kinds = self._random.choices(list(_SHARES), list(_SHARES.values()), k=len(self._tokens))
        return [self._request(kind, token) for kind, token in zip(kinds, self._tokens, strict=True)]

    def _request(self, kind: str, user: str) -> Request:
        promo, company = self._random.choice(self._promos), self._company.token
        method, path, token, body = {
            "feed": ("GET", f"/user/feed?{self._random.choice(_FEEDS)}", user, None),
            "promo": ("GET", f"/user/promo/{promo}", user, None),
            "profile": ("GET", "/user/profile", user, None),
            "list": ("GET", "/business/promo?country=ru&sort_by=active_from", company, None),
            "stat": ("GET", f"/business/promo/{promo}/stat", company, None),
            "history": ("GET", "/user/promo/history", user, None),
            "comments": ("GET", f"/user/promo/{promo}/comments", user, None),
            "like": ("POST", f"/user/promo/{promo}/like", user, None),
            "comment": ("POST", f"/user/promo/{promo}/comments", user, json.dumps({"text": "As good as ever."})),
            "activate": ("POST", f"/user/promo/{promo}/activate", user, None),
            "create": ("POST", "/business/promo", company, json.dumps(promo_body())),
            "sign-in": ("POST", "/user/auth/sign-in", user, self._random.choice(self._credentials)),
        }[kind]
        return Request(method, f"/api{path}", ("Authorization", f"Bearer {token}"), body or "")


def _credentials(user: Account) -> dict[str, str]:
    return {"email": user.body["email"], "password": PASSWORD}


def _tokens(user: Account) -> Iterator[str]:
    """Return tokens of one user that differ in their expiry."""
    claims = Tokens([SECRET_KEY], 24).read(user.token, "user")
    assert claims is not None
    return (Tokens([SECRET_KEY], lifetime_h).issue(claims) for lifetime_h in _LIFETIMES_H)


@contextmanager
def served(**changes: str) -> Iterator[Server]:
    """Serve the API with two workers. `changes` override settings."""
    with (
        TemporaryDirectory(prefix="promo-bench-", ignore_cleanup_errors=True) as folder,
        embedded_servers(Path(folder)) as (postgres, environment),
    ):
        postgres.create_database("promo")
        settings = environment | {"POSTGRES_DATABASE": "promo"} | changes
        with Server(settings, Path(folder)) as server:
            yield server


def main() -> None:
    """Measure, and print the result."""
    minutes = parse_minutes("tests.bench.memory", "The memory of each worker.", 10)
    write_line(
        f"Two workers, requests of {len(_SHARES)} kinds with {'the built-in client' if WRK is None else 'wrk'} over"
    )
    write_line(f"{CONNECTIONS} connections, a sample each {SAMPLE_S} s. Medians of each minute, in MB.\n")
    with served() as server:
        requests = RequestMix(server).requests()
        rss = measure(server, requests, minutes)
    write_line("")
    for number, samples in enumerate(rss, 1):
        write_line(f"Worker {number}: {verdict(samples)}")


def measure(server: Server, requests: list[Request], minutes: int) -> list[list[float]]:
    """Load the server, print a line for each minute, and return the RSS samples of each worker, in MB."""
    workers = server.workers()
    columns = "".join(f"{f'{number}: RSS':>12}{'PSS':>9}{'USS':>9}" for number in range(1, len(workers) + 1))
    write_line(f"{'minute':>6}{'requests/s':>12}{columns}")
    rss: list[list[float]] = [[] for _ in workers]
    for minute in range(1, minutes + 1):
        rates, samples = [], [[] for _ in workers]
        for _ in range(MINUTE_SAMPLES):
            rates.append(requests_per_s(server.port, requests, SAMPLE_S))
            for worker, worker_samples in zip(workers, samples, strict=True):
                worker_samples.append(sample(worker))
        for worker_samples, worker_rss in zip(samples, rss, strict=True):
            worker_rss += [each.rss for each in worker_samples]
        medians = [[median(column) for column in zip(*each, strict=True)] for each in samples]
        columns = "".join(f"{rss_mb:12.1f}{pss_mb:9.1f}{uss_mb:9.1f}" for rss_mb, pss_mb, uss_mb in medians)
        write_line(f"{minute:6}{median(rates):12.0f}{columns}")
    return rss


if __name__ == "__main__":
    main()
