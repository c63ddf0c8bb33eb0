"""Rate limits under abuse: python -m tests.bench.abuse.

First, ten thousand honest users behind one address. Then a day of abuse in a few minutes: the default limits have
proportionally shorter periods and lower counts, so a whole day of periods passes at the same rates. Password hashes are
cheap: at their default cost the machine would be too slow to reach any limit.
"""

import asyncio
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import fields
from math import ceil
from multiprocessing import get_context
from statistics import quantiles
from typing import Any, NamedTuple

import redis

from promo_api.config.settings import Settings, variable
from promo_api.config.values import Rate
from tests.bench.abusers import Target, run_abusers
from tests.bench.client import ADDRESS_HEADER
from tests.bench.honest_users import Sample, arrive, visit_repeatedly
from tests.bench.memory import MINUTE_SAMPLES, SAMPLE_S, sample, served, verdict
from tests.bench.options import parse_minutes
from tests.bench.output import write_line
from tests.e2e.server import Server

_DAY_MIN = 24 * 60
_MINUTE_S = MINUTE_SAMPLES * SAMPLE_S
_ARRIVALS = 10_000
_ARRIVAL_CONNECTIONS = 16
_CHEAP_HASHES = {"ARGON2_MEMORY_KIB": "8", "ARGON2_ITERATIONS": "1"}
_HONEST_USERS = 16
_PROMOS = 20
# The lowest count of a shortened limit.
_TIMES_MIN = 20
# The honest users share one address, so this limit is raised as docs/configuration.md says for a NAT.
_NAT_LIMIT = Rate(20_000, 3600)
# By kind of abuse: the limit that applies, and the status of a request that was let through.
_LIMITS = {
    "guess_password": ("failed_sign_ins_per_account", 401),
    "stuff_credentials": ("failed_sign_ins_per_address", 401),
    "sign_up": ("sign_ups_per_address", 200),
    "activate": ("activations_per_user", 200),
}


class LimitResult(NamedTuple):
    """How many requests were sent and let through, and how many the limit allows."""

    sent: int
    passed: int
    allowed: int

    def __str__(self) -> str:
        # Without a refusal the limit was not tested.
        met = "met" if self.passed <= self.allowed and self.sent > self.passed else "NOT MET"
        return f"{self.sent:10,}{self.passed:10,}{self.allowed:10,}  {met}"


def shortened(rate: Rate, times_faster: float) -> Rate:
    """Return the limit for a day that passes `times_faster`."""
    period_s = max(1, round(rate.period_s / times_faster))
    return Rate(max(_TIMES_MIN, round(rate.times * period_s / rate.period_s)), period_s)


def limit_result(rate: Rate, passing: int, tally: Counter[int], duration_s: float) -> LimitResult:
    """Return the result of a limit.

    Args:
        rate: the limit.
        passing: the status of a request that was let through.
        tally: the count of each status.
        duration_s: of the abuse.
    """
    return LimitResult(tally.total(), tally[passing], rate.times * (ceil(duration_s / rate.period_s) + 1))


def main() -> None:
    """Measure, and print the tables."""
    minutes = parse_minutes("tests.bench.abuse", "Rate limits under abuse.", 8)
    defaults = {each.name: each.default for each in fields(Settings)}
    rates = {name: defaults[name] for name, _ in _LIMITS.values()}
    rates["failed_sign_ins_per_address"] = _NAT_LIMIT
    _measure_arrivals(rates)
    short = {name: shortened(rate, _DAY_MIN / minutes) for name, rate in rates.items()}
    with served(**_environment(short), **_CHEAP_HASHES) as server:
        _measure_day(server, short, minutes)


def _measure_arrivals(rates: dict[str, Rate]) -> None:
    write_line(f"{_ARRIVALS:,} users behind one address, default limits except failures per address: each signs up,")
    write_line("mistypes the password once, signs in and activates a promo. Password hashes are cheap.\n")
    with served(**_environment(rates), **_CHEAP_HASHES) as server:
        promo_id = server.accounts.sign_up_company().create_promo(max_count=_ARRIVALS)
        samples = asyncio.run(arrive(server.port, promo_id, _ARRIVALS, _ARRIVAL_CONNECTIONS))
    write_line(_honest_verdict(samples))


def _measure_day(server: Server, rates: dict[str, Rate], minutes: int) -> None:
    write_line(f"\nA day of abuse in {minutes} minutes, after a minute without. The periods of limits are shorter.")
    write_line(f"{_HONEST_USERS} honest users, all behind one address, send requests all the time. Memory in MB.\n")
    company, user = server.accounts.sign_up_company(), server.accounts.sign_up_user()
    promo_ids = [company.create_promo(max_count=100_000_000) for _ in range(_PROMOS)]
    target = Target(server.port, server.accounts.sign_up_user().body["email"], user.token, promo_ids[0])
    write_line(
        f"{'minute':>6}{'honest/s':>10}{'failed':>8}{'p50 ms':>8}{'p99 ms':>8}{'abuse/s':>9}{'workers':>16}", end=""
    )
    write_line(f"{'Redis keys':>12}{'Redis':>7}")
    samples: list[Sample] = []
    tallies: dict[str, Counter[int]] = {}
    rss: list[list[float]] = [[] for _ in server.workers()]
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        for minute in range(minutes + 1):
            abuse = processes.submit(run_abusers, target, _MINUTE_S) if minute else None
            current = _run_honest_users(server, promo_ids, rss)
            tally = {} if abuse is None else _add_tallies(abuse, tallies)
            samples += current if minute else []
            abuse_per_s = sum(map(Counter.total, tally.values())) / _MINUTE_S
            write_line(f"{minute or 'calm':>6}{_honest_columns(current)}{abuse_per_s:9.0f}", end="")
            write_line("".join(f"{worker_rss[-1]:8.1f}" for worker_rss in rss), end="")
            write_line(_redis_columns(server))
    _print_verdicts(server, rates, samples, tallies, minutes, [each[MINUTE_SAMPLES:] for each in rss])


def _run_honest_users(server: Server, promo_ids: list[str], rss: list[list[float]]) -> list[Sample]:
    """Run the honest users for a minute, and append the memory of each worker to `rss`."""
    samples: list[Sample] = []
    for _ in range(MINUTE_SAMPLES):
        samples += asyncio.run(visit_repeatedly(server.port, promo_ids, _HONEST_USERS, SAMPLE_S))
        for worker, worker_rss in zip(server.workers(), rss, strict=True):
            worker_rss.append(sample(worker).rss)
    return samples


def _add_tallies(abuse: "Future[dict[str, Counter[int]]]", tallies: dict[str, Counter[int]]) -> dict[str, Counter[int]]:
    """Add the result of a minute of abuse to the tallies, and return it."""
    tally = abuse.result()
    for name, counts in tally.items():
        tallies.setdefault(name, Counter()).update(counts)
    return tally


def _print_verdicts(
    server: Server,
    rates: dict[str, Rate],
    samples: list[Sample],
    tallies: dict[str, Counter[int]],
    minutes: int,
    rss: list[list[float]],
) -> None:
    write_line(f"\n{'abuse':32}count of each status; 0: the connection was closed, or the minute was over")
    for name, tally in tallies.items():
        write_line(f"{name:32}{', '.join(f'{status}: {times:,}' for status, times in sorted(tally.items()))}")
    write_line(f"\n{'limit':40}{'sent':>10}{'passed':>10}{'allowed':>10}")
    for name, (limit, passing) in _LIMITS.items():
        result = limit_result(rates[limit], passing, tallies[name], minutes * _MINUTE_S)
        write_line(f"{f'{limit} {rates[limit]}':40}{result}")
    write_line(f"\n{_honest_verdict(samples)}")
    for number, worker_rss in enumerate(rss, 1):
        write_line(f"Worker {number}: {verdict(worker_rss)}")
    failed = sum(line.get("status") == 500 or "traceback" in line for line in server.lines())
    write_line(f"Status 500 and tracebacks in the log: {failed}, required: 0: {'met' if not failed else 'NOT MET'}.")


def _honest_verdict(samples: list[Sample]) -> str:
    failed = Counter(f"{each.kind} {each.status}" for each in samples if not each.served)
    details = ", ".join(f"{kind}: {count}" for kind, count in failed.items()) or "none"
    met = "NOT MET" if failed else "met"
    return f"Honest requests: {len(samples):,}; not served: {details}; required: none: {met}."


def _honest_columns(samples: list[Sample]) -> str:
    percentiles = quantiles((each.took_s * 1000 for each in samples), n=100)
    failed = sum(not each.served for each in samples)
    return f"{len(samples) / _MINUTE_S:10.0f}{failed:8}{percentiles[49]:8.1f}{percentiles[98]:8.1f}"


def _redis_columns(server: Server) -> str:
    host, port = server.environment["REDIS_HOST"], int(server.environment["REDIS_PORT"])
    with redis.Redis(host=host, port=port) as client:
        keys: Any = client.dbsize()
        memory: Any = client.info("memory")
    return f"{keys:12,}{memory['used_memory'] / 1e6:7.1f}"


def _environment(rates: dict[str, Rate]) -> dict[str, str]:
    limits = {variable(each): str(rates[each.name]) for each in fields(Settings) if each.name in rates}
    return limits | {"CLIENT_ADDRESS_HEADER": ADDRESS_HEADER}


if __name__ == "__main__":
    main()
