"""Deliveries to webhooks: python -m tests.bench.webhooks.

Two workers, PostgreSQL and the receiver share the machine. Throughput: events of one company to one quick receiver,
with their publication. Latency: from publication to receipt, with and without receivers that hang. Backlog: requests
with 1,000,000 undelivered deliveries against none.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg

from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.processes import wait_until
from promo_api.security.webhook_secrets import WebhookSecrets
from tests.accounts import Account, promo_body
from tests.bench.load import Request, requests_per_s
from tests.bench.options import parse_rounds
from tests.bench.output import write_line
from tests.bench.servers import SECRET_KEY, embedded_servers
from tests.bench.webhook_sink import Sink
from tests.e2e.server import Server

RATE_MIN, LATENCY_MAX, BACKLOG_MIN = 1000, 1.5, 0.9

_EVENTS, _UNDELIVERED, _HANGING = 10_000, 1_000_000, 20
_ROUNDS, _ROUND_S = 5, 4
_PER_TICK, _TICKS_PER_S = 10, 10
_WAIT_S = 60
_WEBHOOK = """
    INSERT INTO webhooks (company_id, id, url, event_types, secret)
    VALUES (%(company)s, %(id)s, %(url)s, '{}', %(secret)s)
"""
_WRITE = """
    INSERT INTO promo_events (promo_id, company_id, type, data)
    SELECT gen_random_uuid(), %(company)s, 'promo.changed', '{"members": ["description"]}'
    FROM generate_series(1, %(count)s)
"""
_BACKLOG = """
    WITH written AS (
        INSERT INTO events (company_id, type, number, published_at)
        SELECT %(company)s, 'promo.changed', number, now() FROM generate_series(1, %(count)s) number RETURNING id
    ), counted AS (
        INSERT INTO event_feeds (company_id, last_number) VALUES (%(company)s, %(count)s)
    )
    INSERT INTO deliveries (company_id, webhook_id, event_id) SELECT %(company)s, %(id)s, id FROM written
"""
_PUBLISHED = "SELECT id, extract(epoch FROM published_at) FROM events WHERE company_id = %(company)s"


class Bench:
    """A server with webhooks."""

    def __init__(self, server: Server, postgres: EmbeddedPostgres, rounds: int, seconds: int) -> None:
        self._server = server
        self._rounds, self._seconds = rounds, seconds
        self._connection = psycopg.connect(
            f"host={postgres.host} port={postgres.port} user={postgres.username} dbname=promo", autocommit=True
        )

    def run(self) -> Iterator[str]:
        """Yield the lines of the result."""
        with Sink() as sink:
            worked_s = self._server.worked_s()
            rates = [self._throughput(sink) for _ in range(self._rounds)]
            event_ms = 1000 * (self._server.worked_s() - worked_s) / (self._rounds * _EVENTS)
        rate = median(rates)
        yield (
            f"{rate:.0f} events a second delivered (at least {RATE_MIN}): {_verdict(rate >= RATE_MIN)}. An event takes"
            f" {event_ms:.2f} ms of processor time of the workers."
        )
        alone, among = self._latencies()
        yield (
            f"latency without and with {_HANGING} receivers that hang: p50 {alone[0]:.0f} and {among[0]:.0f} ms,"
            f" p99 {alone[1]:.0f} and {among[1]:.0f} ms, ratio {among[1] / alone[1]:.2f}"
            f" (at most {LATENCY_MAX}): {_verdict(among[1] / alone[1] <= LATENCY_MAX)}."
        )
        yield from self._backlog()

    def _add_webhook(self, company: Account, url: str) -> str:
        secrets = WebhookSecrets([SECRET_KEY])
        values = {"company": company.id, "id": uuid4(), "url": url, "secret": secrets.encrypt(secrets.generate())}
        self._connection.execute(_WEBHOOK, values)
        return str(values["id"])

    def _throughput(self, sink: Sink) -> float:
        company = self._server.accounts.sign_up_company()
        self._add_webhook(company, sink.url)
        sink.received = {}
        self._connection.execute(_WRITE, {"company": company.id, "count": _EVENTS})
        assert wait_until(lambda: len(sink.received) == _EVENTS, _WAIT_S), len(sink.received)
        times = sorted(sink.received.values())
        return (len(times) - 1) / (times[-1] - times[0])

    def _latencies(self) -> tuple[list[float], list[float]]:
        """Return the median and the 99th percentile, in ms, without and with receivers that hang."""
        measured: tuple[list[float], list[float]] = ([], [])
        with Sink() as sink, Sink(hangs=True) as hanging:
            company = self._server.accounts.sign_up_company()
            self._add_webhook(company, sink.url)
            for _ in range(self._rounds):
                others = [self._server.accounts.sign_up_company() for _ in range(_HANGING)]
                measured[0].extend(self._latency(company, sink, []))
                for other in others:
                    self._add_webhook(other, hanging.url)
                measured[1].extend(self._latency(company, sink, others))
        cuts = [quantiles(each, n=100) for each in measured]
        return ([cuts[0][49], cuts[0][98]], [cuts[1][49], cuts[1][98]])

    def _latency(self, company: Account, sink: Sink, others: list[Account]) -> list[float]:
        sink.received = {}
        for _ in range(self._seconds * _TICKS_PER_S):
            for each in (company, *others):
                self._connection.execute(_WRITE, {"company": each.id, "count": _PER_TICK if each is company else 1})
            # The next tick begins when this time is over, not before.
            self._connection.execute("SELECT pg_sleep(%s)", [1 / _TICKS_PER_S])
        count = self._seconds * _TICKS_PER_S * _PER_TICK
        assert wait_until(lambda: len(sink.received) == count, _WAIT_S), len(sink.received)
        published = {str(id_): float(at) for id_, at in self._connection.execute(_PUBLISHED, {"company": company.id})}
        return [1000 * (at - published[id_]) for id_, at in sink.received.items()]

    def _backlog(self) -> Iterator[str]:
        """Compare requests of a company without events with those of one whose receiver is down."""
        loads = {"none": self._loads(0), "many": self._loads(_UNDELIVERED)}
        self._connection.execute("VACUUM ANALYZE")
        for name in loads["none"]:
            rates: dict[str, list[float]] = {"none": [], "many": []}
            for _ in range(self._rounds):
                for state, requests in loads.items():
                    rates[state].append(requests_per_s(self._server.port, requests[name], self._seconds))
            ratio = median(rates["many"]) / median(rates["none"])
            yield (
                f"{name:10} {median(rates['many']):6.0f} and {median(rates['none']):6.0f} a second with"
                f" {_UNDELIVERED:,} undelivered and with none, ratio {ratio:.2f} (at least {BACKLOG_MIN}):"
                f" {_verdict(ratio >= BACKLOG_MIN)}."
            )

    def _loads(self, undelivered: int) -> dict[str, list[Request]]:
        company = self._server.accounts.sign_up_company()
        # Nothing listens on this port.
        webhook_id = self._add_webhook(company, "http://127.0.0.1:9/")
        if undelivered:
            values = {"company": company.id, "id": webhook_id, "count": undelivered}
            self._connection.execute(_BACKLOG, values)
        promo_id = company.create_promo(max_count=10_000_000, activation_events=True)
        users = [self._server.accounts.sign_up_user() for _ in range(8)]
        header, body = ("Authorization", f"Bearer {company.token}"), json.dumps(promo_body())
        return {
            "create": [Request("POST", "/api/business/promo", header, body)],
            "activate": [
                Request("POST", f"/api/user/promo/{promo_id}/activate", ("Authorization", f"Bearer {user.token}"))
                for user in users
            ],
            "events": [Request("GET", "/api/business/events?limit=10", header)],
        }


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


def main() -> None:
    """Measure, and print the result."""
    rounds, round_s = parse_rounds("tests.bench.webhooks", "Deliveries to webhooks.", _ROUNDS, _ROUND_S)
    allowed = {"WEBHOOK_HTTP_ALLOWED": "true", "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="promo-bench-", ignore_cleanup_errors=True)))
        postgres, settings = stack.enter_context(embedded_servers(folder))
        postgres.create_database("promo")
        server = stack.enter_context(Server(settings | allowed | {"POSTGRES_DATABASE": "promo"}, folder))
        for line in Bench(server, postgres, rounds, round_s).run():
            write_line(line)


if __name__ == "__main__":
    sys.exit(main())
