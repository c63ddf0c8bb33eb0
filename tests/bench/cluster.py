"""What a request takes of the servers of a Citus cluster, and how many requests more servers can answer.

    CITUS_BIN=... python -m tests.bench.cluster

One client sends requests to one worker of the service, on one PostgreSQL and on a coordinator with two workers, in
turns. All servers share the machine. So the processor time of each server is measured, and the throughput is computed
from it: a request uses the server that it enters, and those with its rows. Both are spread evenly over the servers.
Only the feed is on one of them. Disks, networks and locks are left out.
"""

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from persistence.database.engine import Database
from persistence.migrations import update_schema
from promo_api.config.settings import Settings
from promo_api.dev.valkey import EmbeddedValkey
from tests.bench.output import write_line
from tests.bench.servers import used_by_sessions_s
from tests.e2e.citus.cluster import Cluster, Node, find_obstacle
from tests.e2e.server import Server

_ROUNDS, _REQUESTS, _PROMOS = 9, 100, 200
_CODE, _LIMIT = "SALE-1", 1_000_000
# What the server of the feed does for a page: it reads the entries, and the promos come from their servers.
_FEED, _ENTRIES = "feed of 20 promos", "feed without promos"
# Of 100 requests of a campaign.
_MIX = {_FEED: 20, "one promo": 40, "activation": 25, "like": 5, "redemption": 10}
_SERVERS = (2, 3, 4, 6, 8, 12, 16)
_SETTINGS = {
    "ARGON2_MEMORY_KIB": "8",
    "ARGON2_ITERATIONS": "1",
    "SERVER_WORKERS": "1",
    "ACTIVATIONS_PER_USER": "100000000/60",
    "SECRET_KEY": os.urandom(32).hex(),
}


class Work(NamedTuple):
    """The processor time of PostgreSQL for a request, in ms."""

    entry: float
    others: float

    @property
    def total(self) -> float:
        """The time of all servers."""
        return self.entry + self.others


class Target:
    """A service with a company, its promos and a user.

    Args:
        entry: the server that the service connects to.
        others: the other servers of its cluster.
    """

    def __init__(self, service: Server, entry: Node, others: Sequence[Node] = ()) -> None:
        self._entry, self._others = entry, others
        self._company, self._user = service.accounts.sign_up_company(), service.accounts.sign_up_user()
        self._promo = f"/user/promo/{self._company.create_promo(promo_common=_CODE, max_count=_LIMIT)}"
        for _ in range(_PROMOS):
            self._company.create_promo()

    def measure(self, name: str) -> Work:
        """Send requests one after another."""
        send = self._requests()[name]
        before = self._used_ms()
        for _ in range(_REQUESTS):
            response = send()
            assert response.ok, response.text
        return Work(*((after - at) / _REQUESTS for at, after in zip(before, self._used_ms(), strict=True)))

    def _requests(self) -> dict[str, Callable[[], Any]]:
        return {
            _FEED: lambda: self._user.get("/user/feed?limit=20"),
            _ENTRIES: lambda: self._user.get("/user/feed?category=nothing"),
            "one promo": lambda: self._user.get(self._promo),
            "activation": lambda: self._user.post(f"{self._promo}/activate"),
            "like": lambda: self._user.post(f"{self._promo}/like"),
            "redemption": lambda: self._company.post("/business/redemptions", json={"code": _CODE}),
        }

    def _used_ms(self) -> Work:
        return Work(*(sum(map(used_by_sessions_s, nodes)) * 1000 for nodes in ([self._entry], self._others)))


def find_throughput(works: Mapping[str, Work], shares: Mapping[str, int], servers: int) -> float:
    """Return the requests per second and processor of one server, if all servers are equal.

    Args:
        works: by request.
        shares: how many of 100 requests are of each kind.
        servers: of the cluster.
    """
    of_all = sum(share * works[name].total for name, share in shares.items()) / 100
    of_feed = shares.get(_FEED, 0) * works[_ENTRIES].others / 100
    return 1000 / max(of_all / servers, of_feed)


def _print_model(plain: Mapping[str, Work], cluster: Mapping[str, Work]) -> None:
    write_line("| Requests | one PostgreSQL | " + " | ".join(f"{number} servers" for number in _SERVERS) + " |")
    write_line("|---" * (len(_SERVERS) + 2) + "|")
    mixes = {**{name: {name: 100} for name in _MIX}, "campaign": _MIX}
    for name, shares in mixes.items():
        one = 100_000 / sum(share * plain[each].total for each, share in shares.items())
        more = [find_throughput(cluster, shares, number) for number in _SERVERS]
        write_line(f"| {name} | {one:.0f} | " + " | ".join(f"{each:.0f}" for each in more) + " |")


def main() -> None:
    """Measure, and print the work of each request and the model."""
    obstacle = find_obstacle()
    if obstacle is not None:
        raise SystemExit(obstacle)
    with TemporaryDirectory(prefix="promo-bench-") as folder, ExitStack() as stack:
        plain, cluster = _start(stack, Path(folder))
        works: dict[str, list[Work]] = {}
        write_line(
            "| Request | one PostgreSQL | server that it enters | other servers | ratio |\n|---|---|---|---|---|"
        )
        for name in (_ENTRIES, *_MIX):
            rounds = [(plain.measure(name), cluster.measure(name)) for _ in range(_ROUNDS)]
            works[name] = [Work(*map(statistics.median, zip(*each, strict=True))) for each in zip(*rounds, strict=True)]
            one, more = works[name]
            figures = f"{one.entry:.2f} | {more.entry:.2f} | {more.others:.2f} | {more.total / one.entry:.1f}"
            write_line(f"| {name} | {figures} |")
        _print_model(*({name: each[number] for name, each in works.items()} for number in range(2)))


def _start(stack: ExitStack, folder: Path) -> tuple[Target, Target]:
    valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
    redis = {"REDIS_HOST": valkey.host, "REDIS_PORT": str(valkey.port)}
    alone = stack.enter_context(Node(folder / "alone"))
    alone.run("CREATE DATABASE promo", database="postgres")
    with closing(Database(Settings.from_environment(Cluster.variables(alone)))) as database:
        update_schema(database.engine)
    cluster = Cluster(stack, folder)
    services = []
    for node in (alone, cluster.coordinator):
        (logs := folder / f"logs-{node.port}").mkdir()
        services.append(stack.enter_context(Server(Cluster.variables(node) | redis | _SETTINGS, logs)))
    targets = Target(services[0], alone), Target(services[1], cluster.coordinator, cluster.workers)
    for node in (alone, cluster.coordinator):
        node.run("VACUUM ANALYZE")
    return targets


if __name__ == "__main__":
    main()
