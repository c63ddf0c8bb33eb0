"""What a replica costs a request, and spares the primary.

    python -m tests.bench.replicas

One client sends requests to one worker, with and without a replica, in turns. All servers share the machine, so this
measures the work of each, and not how many requests several machines serve.
"""

import os
import statistics
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.valkey import EmbeddedValkey
from tests.bench.output import write_line
from tests.bench.servers import used_by_sessions_s
from tests.e2e.server import Server
from tests.standby import Pair

_ROUNDS, _REQUESTS, _PROMOS = 15, 200, 400


class Work(NamedTuple):
    """What a request takes, in ms: until its response, of the worker's processor, and of the primary's."""

    response: float
    worker: float
    primary: float


class Client:
    """A user on one connection to a server."""

    def __init__(self, server: Server, primary: EmbeddedPostgres) -> None:
        self._server, self._primary = server, primary
        self._headers = {"Authorization": f"Bearer {server.accounts.sign_up_user().token}"}
        self._connection = HTTPConnection("127.0.0.1", server.port)

    def measure(self, method: str, path: str) -> Work:
        """Send requests one after another."""
        before = self._used_ms()
        for _ in range(_REQUESTS):
            self._connection.request(method, f"/api{path}", headers=self._headers)
            response = self._connection.getresponse()
            response.read()
            assert response.status == 200
        return Work(*((after - at) / _REQUESTS for at, after in zip(before, self._used_ms(), strict=True)))

    def _used_ms(self) -> Work:
        return Work(perf_counter() * 1000, self._server.worked_s() * 1000, used_by_sessions_s(self._primary) * 1000)


def main() -> None:
    """Measure, and print a line for each request: without and with a replica."""
    with TemporaryDirectory(prefix="promo-bench-") as folder, ExitStack() as stack:
        pair = Pair(stack, Path(folder), synchronous=False)
        valkey = stack.enter_context(EmbeddedValkey(Path(folder) / "valkey"))
        settings = pair.environment | {
            "POSTGRES_HOST": pair.primary.host, "POSTGRES_PORT": str(pair.primary.port), "SERVER_WORKERS": "1",
            "REDIS_HOST": valkey.host, "REDIS_PORT": str(valkey.port), "ANTIFRAUD_ADDRESS": "none",
            "SECRET_KEY": os.urandom(32).hex(),
        }  # fmt: skip
        servers = []
        for host in ("", pair.standby.host):
            (logs := Path(folder) / f"logs-{len(servers)}").mkdir()
            servers.append(stack.enter_context(Server(settings | {"POSTGRES_READ_HOST": host}, logs)))
        company = servers[0].accounts.sign_up_company()
        promo_ids = [company.create_promo() for _ in range(_PROMOS)]
        pair.on_primary("VACUUM ANALYZE")
        pair.catch_up()
        clients = [Client(server, pair.primary) for server in servers]
        promo = f"/user/promo/{promo_ids[0]}"
        for method, path in (("GET", "/user/feed?limit=20"), ("GET", promo), ("POST", f"{promo}/like")):
            rounds = [[client.measure(method, path) for client in clients] for _ in range(_ROUNDS)]
            off, on = (
                [statistics.median(each) for each in zip(*works, strict=True)] for works in zip(*rounds, strict=True)
            )
            figures = [
                f"{name} {first:.2f} -> {second:.2f}" for name, first, second in zip(Work._fields, off, on, strict=True)
            ]
            write_line(f"{method} {path[:16]:17} {', '.join(figures)} ms")


if __name__ == "__main__":
    main()
