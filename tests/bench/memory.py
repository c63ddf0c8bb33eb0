"""The memory of each worker under requests of all kinds, for ten minutes: python -m tests.bench.memory.

RSS is all that a worker has in memory, and what the bounds are about; PSS counts what it shares with others, such as
the program itself, in parts, and USS not at all. They are read on Linux, in MB of 1,000,000 bytes.
"""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil

from promo_api.tokens import Tokens
from tests.accounts import PASSWORD, Account, promo_body
from tests.bench.load import CONNECTIONS, WRK, Request, requests_per_s
from tests.bench.surroundings import SECRET_KEY, surroundings
from tests.conformance import Conformance
from tests.e2e.server import Server

END_MAX_MB = 150
GROWTH_MAX = 0.03
SAMPLE_S = 10
MINUTE_SAMPLES = 60 // SAMPLE_S

# The first minutes that are compared with the last two must be others.
_MINUTES_MIN = 6
_PROMOS = 100
_USERS = 250
_SIGN_IN_USERS = 10
_LIFETIMES_H = range(1, 25)
_FEEDS = ("limit=10", "limit=10&offset=10", "active=true", "category=cats")
# How many of a hundred requests are of a kind. A sign-in costs as much as twenty others.
_SHARES = {
    "feed": 18, "promo": 16, "profile": 10, "list": 6, "stat": 4, "history": 6, "comments": 6,
    "like": 10, "comment": 6, "activate": 12, "create": 4, "sign-in": 2,
}  # fmt: skip


class Sample(NamedTuple):
    """The memory of a worker at one moment, in MB."""

    rss: float
    pss: float
    uss: float


def sample(worker: psutil.Process) -> Sample:
    """Return the memory of a worker now; psutil.NoSuchProcess if it has ended."""
    read = worker.memory_full_info()
    return Sample(read.rss / 1e6, read.pss / 1e6, read.uss / 1e6)


def growth(rss: list[float]) -> float:
    """Return what of the memory has come since minutes three and four to the last two, by the medians; 0.01: 1 %."""
    early = rss[2 * MINUTE_SAMPLES : 4 * MINUTE_SAMPLES]
    return median(rss[-2 * MINUTE_SAMPLES :]) / median(early) - 1


def verdict(rss: list[float]) -> str:
    """Return whether a worker kept its bounds, as a line for people; `rss` in MB, a sample each ten seconds."""
    # A median, since a password hash takes 19 MiB more for as long as it is computed.
    end_mb = median(rss[-2 * MINUTE_SAMPLES :])
    met = end_mb <= END_MAX_MB and growth(rss) <= GROWTH_MAX
    end = f"{end_mb:.1f} MB in the last two minutes, wanted: at most {END_MAX_MB}"
    grown = f"{growth(rss):+.1%} since minutes 3 and 4, wanted: at most {GROWTH_MAX:+.0%}"
    return f"{end}; {grown}; {max(rss):.1f} MB at most for a moment: {'met' if met else 'NOT MET'}."


class Mix:
    """Requests of all kinds, of many users and one company.

    The users have more tokens than a worker keeps decoded, so that what it keeps is as much as it can be.
    """

    def __init__(self, server: Server) -> None:
        self._random = Random(1)  # noqa: S311 the same requests in each run
        self._company = server.people.sign_up_company()
        changes = {"max_count": 100_000_000, "image_url": "https://example.com/a.png"}
        self._promos = [self._company.create_promo(**changes) for _ in range(_PROMOS)]
        users = [server.people.sign_up_user() for _ in range(_USERS)]
        # A sign-in ends the tokens that were there before.
        self._credentials = [json.dumps(_credentials(server.people.sign_up_user())) for _ in range(_SIGN_IN_USERS)]
        self._tokens = [token for user in users for token in _tokens(user)]

    def requests(self) -> list[Request]:
        """Return one request for each token of the users; some of them are sent with the company's instead."""
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
    """Return many tokens of one user, which differ in when they expire."""
    claims = Tokens([SECRET_KEY], 24).read(user.token, "user")
    assert claims is not None
    return (Tokens([SECRET_KEY], lifetime_h).issue(claims) for lifetime_h in _LIFETIMES_H)


@contextmanager
def served(**changes: str) -> Iterator[Server]:
    """Serve the API with two workers, and with other settings where some are given."""
    with (
        TemporaryDirectory(prefix="promo-bench-", ignore_cleanup_errors=True) as folder,
        surroundings(Path(folder)) as (postgres, environment),
    ):
        postgres.create_database("promo")
        settings = environment | {"POSTGRES_DATABASE": "promo"} | changes
        with Server(settings, Path(folder), Conformance()) as server:
            yield server


def main() -> None:
    """Measure, and tell."""
    minutes = asked_minutes("tests.bench.memory", "The memory of each worker.", 10)
    _tell(f"Two workers, requests of {len(_SHARES)} kinds with {'our own client' if WRK is None else 'wrk'} over")
    _tell(f"{CONNECTIONS} connections, a sample each {SAMPLE_S} s. Medians of each minute, in MB.\n")
    with served() as server:
        requests = Mix(server).requests()
        rss = measured(server, requests, minutes)
    _tell("")
    for number, samples in enumerate(rss, 1):
        _tell(f"Worker {number}: {verdict(samples)}")


def measured(server: Server, requests: list[Request], minutes: int) -> list[list[float]]:
    """Load the server, tell of each minute, and return the samples of the RSS of each worker, in MB."""
    workers = server.workers()
    columns = "".join(f"{f'{number}: RSS':>12}{'PSS':>9}{'USS':>9}" for number in range(1, len(workers) + 1))
    _tell(f"{'minute':>6}{'requests/s':>12}{columns}")
    rss: list[list[float]] = [[] for _ in workers]
    for minute in range(1, minutes + 1):
        rates, samples = [], [[] for _ in workers]
        for _ in range(MINUTE_SAMPLES):
            rates.append(requests_per_s(server.port, requests, SAMPLE_S))
            for worker, taken in zip(workers, samples, strict=True):
                taken.append(sample(worker))
        for taken, all_rss in zip(samples, rss, strict=True):
            all_rss += [each.rss for each in taken]
        medians = [[median(column) for column in zip(*taken, strict=True)] for taken in samples]
        told = "".join(f"{rss_mb:12.1f}{pss_mb:9.1f}{uss_mb:9.1f}" for rss_mb, pss_mb, uss_mb in medians)
        _tell(f"{minute:6}{median(rates):12.0f}{told}")
    return rss


def asked_minutes(program: str, description: str, default: int) -> int:
    """Return for how many minutes whoever started a program wants it to measure."""
    parser = ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--minutes", type=int, default=default, help=f"how long it takes; at least {_MINUTES_MIN}")
    minutes: int = parser.parse_args().minutes
    if minutes < _MINUTES_MIN:
        parser.error(f"It takes at least {_MINUTES_MIN} minutes to tell whether memory grows.")
    return minutes


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
