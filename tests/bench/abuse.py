"""Ten thousand honest users behind one address, and a day of abuse in some minutes: python -m tests.bench.abuse.

The limits are those that the service has by default. For the day their periods are shorter, and they count as much
less: so as many periods pass as in a day, at the same rates. Password hashes are cheap: at their cost by default they
are all that this machine does, and no limit is ever reached.
"""

import asyncio
import sys
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import fields
from math import ceil
from multiprocessing import get_context
from statistics import quantiles
from typing import Any, NamedTuple

import redis

from promo_api.setting_values import Rate
from promo_api.settings import Settings, variable
from tests.bench.abusers import Target, abuse
from tests.bench.caller import ADDRESS_HEADER
from tests.bench.honest import Seen, crowd, live
from tests.bench.memory import MINUTE_SAMPLES, SAMPLE_S, asked_minutes, sample, served, verdict
from tests.e2e.server import Server

_DAY_MIN = 24 * 60
_MINUTE_S = MINUTE_SAMPLES * SAMPLE_S
_CROWD = 10_000
_CROWD_CONNECTIONS = 16
_CHEAP_HASHES = {"ARGON2_MEMORY_KIB": "8", "ARGON2_ITERATIONS": "1"}
_PEOPLE = 16
_PROMOS = 20
# An account may fail so often in a period, however short that is.
_TIMES_MIN = 20
# The honest users share one address, so this limit is raised as docs/configuration.md says for a NAT.
_FAILURES_OF_NAT = Rate(20_000, 3600)
_LIMITED = {
    "guess": ("failed_sign_ins_per_account", 401),
    "try_list": ("failed_sign_ins_per_address", 401),
    "sign_up": ("sign_ups_per_address", 200),
    "activate": ("activations_per_user", 200),
}


class Held(NamedTuple):
    """What came of a limit: how much was tried, how much of it was let through, and how much may be."""

    tried: int
    passed: int
    most: int

    def __str__(self) -> str:
        told = f"{self.tried:10,}{self.passed:10,}{self.most:10,}"
        # Whoever is never refused shows nothing.
        return f"{told}  {'met' if self.passed <= self.most and self.tried > self.passed else 'NOT MET'}"


def shortened(rate: Rate, times_faster: float) -> Rate:
    """Return the rate for a day that passes so many times faster than others."""
    period_s = max(1, round(rate.period_s / times_faster))
    return Rate(max(_TIMES_MIN, round(rate.times * period_s / rate.period_s)), period_s)


def held(rate: Rate, passing: int, tally: Counter[int], duration_s: float) -> Held:
    """Return what came of a limit.

    Args:
        rate: what may be let through.
        passing: the status of an answer to what was let through.
        tally: which answers there were how often.
        duration_s: for how long it was tried.
    """
    return Held(tally.total(), tally[passing], rate.times * (ceil(duration_s / rate.period_s) + 1))


def main() -> None:
    """Measure, and tell."""
    minutes = asked_minutes("tests.bench.abuse", "What abuse does, and to whom.", 8)
    defaults = {each.name: each.default for each in fields(Settings)}
    rates = {name: defaults[name] for name, _ in _LIMITED.values()}
    rates["failed_sign_ins_per_address"] = _FAILURES_OF_NAT
    _tell_crowd(rates)
    short = {name: shortened(rate, _DAY_MIN / minutes) for name, rate in rates.items()}
    with served(**_environment(short), **_CHEAP_HASHES) as server:
        _tell_day(server, short, minutes)


def _tell_crowd(rates: dict[str, Rate]) -> None:
    _tell(f"{_CROWD:,} users behind one address, limits by default but for failures per address: each signs up,")
    _tell("mistypes the password once, signs in and activates a promo. Their hashes are cheap, and are not measured.\n")
    with served(**_environment(rates), **_CHEAP_HASHES) as server:
        promo_id = server.people.sign_up_company().create_promo(max_count=_CROWD)
        seen = asyncio.run(crowd(server.port, promo_id, _CROWD, _CROWD_CONNECTIONS))
    _tell(_verdict_of(seen))


def _tell_day(server: Server, rates: dict[str, Rate], minutes: int) -> None:
    _tell(
        f"\nA day of abuse in {minutes} minutes; before it a minute without. Each period of a limit is as much shorter."
    )
    _tell(f"{_PEOPLE} honest users, all behind one address, go on all the time. Memory in MB.\n")
    company, user = server.people.sign_up_company(), server.people.sign_up_user()
    promo_ids = [company.create_promo(max_count=100_000_000) for _ in range(_PROMOS)]
    target = Target(server.port, server.people.sign_up_user().body["email"], user.token, promo_ids[0])
    _tell(f"{'minute':>6}{'honest/s':>10}{'failed':>8}{'p50 ms':>8}{'p99 ms':>8}{'abuse/s':>9}{'workers':>16}", end="")
    _tell(f"{'Redis keys':>12}{'Redis':>7}")
    seen: list[Seen] = []
    tallies: dict[str, Counter[int]] = {}
    rss: list[list[float]] = [[] for _ in server.workers()]
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        for minute in range(minutes + 1):
            abused = processes.submit(abuse, target, _MINUTE_S) if minute else None
            now = _minute(server, promo_ids, rss)
            tally = {} if abused is None else _counted(abused, tallies)
            seen += now if minute else []
            _tell(
                f"{minute or 'calm':>6}{_told(now)}{sum(map(Counter.total, tally.values())) / _MINUTE_S:9.0f}", end=""
            )
            _tell("".join(f"{samples[-1]:8.1f}" for samples in rss), end="")
            _tell(_told_of_redis(server))
    _tell_verdicts(server, rates, seen, tallies, minutes, [samples[MINUTE_SAMPLES:] for samples in rss])


def _minute(server: Server, promo_ids: list[str], rss: list[list[float]]) -> list[Seen]:
    """Let a minute of the honest pass, and add samples of the memory of each worker to what was measured before."""
    seen: list[Seen] = []
    for _ in range(MINUTE_SAMPLES):
        seen += asyncio.run(live(server.port, promo_ids, _PEOPLE, SAMPLE_S))
        for worker, samples in zip(server.workers(), rss, strict=True):
            samples.append(sample(worker).rss)
    return seen


def _counted(abused: "Future[dict[str, Counter[int]]]", tallies: dict[str, Counter[int]]) -> dict[str, Counter[int]]:
    """Add what came of a minute of abuse to what came of those before, and return it."""
    tally = abused.result()
    for name, counts in tally.items():
        tallies.setdefault(name, Counter()).update(counts)
    return tally


def _tell_verdicts(
    server: Server,
    rates: dict[str, Rate],
    seen: list[Seen],
    tallies: dict[str, Counter[int]],
    minutes: int,
    rss: list[list[float]],
) -> None:
    _tell(f"\n{'abuse':20}answers, and how often each came; 0: the connection was closed, or the minute was over")
    for name, tally in tallies.items():
        _tell(f"{name:20}{', '.join(f'{status}: {times:,}' for status, times in sorted(tally.items()))}")
    _tell(f"\n{'limit':40}{'tried':>10}{'passed':>10}{'at most':>10}")
    for name, (limit, passing) in _LIMITED.items():
        outcome = held(rates[limit], passing, tallies[name], minutes * _MINUTE_S)
        _tell(f"{f'{limit} {rates[limit]}':40}{outcome}")
    _tell(f"\n{_verdict_of(seen)}")
    for number, samples in enumerate(rss, 1):
        _tell(f"Worker {number}: {verdict(samples)}")
    failed = sum(line.get("status") == 500 or "traceback" in line for line in server.lines())
    _tell(
        f"Answers of status 500 and tracebacks in the log: {failed}, wanted: 0: {'met' if not failed else 'NOT MET'}."
    )


def _verdict_of(seen: list[Seen]) -> str:
    lost = Counter(f"{each.kind} {each.status}" for each in seen if not each.served)
    told = ", ".join(f"{what}: {times}" for what, times in lost.items()) or "none"
    return f"Honest requests: {len(seen):,}; not served: {told}; wanted: none: {'NOT MET' if lost else 'met'}."


def _told(seen: list[Seen]) -> str:
    cuts = quantiles((each.took_s * 1000 for each in seen), n=100)
    lost = sum(not each.served for each in seen)
    return f"{len(seen) / _MINUTE_S:10.0f}{lost:8}{cuts[49]:8.1f}{cuts[98]:8.1f}"


def _told_of_redis(server: Server) -> str:
    host, port = server.environment["REDIS_HOST"], int(server.environment["REDIS_PORT"])
    with redis.Redis(host=host, port=port) as client:
        keys: Any = client.dbsize()
        memory: Any = client.info("memory")
    return f"{keys:12,}{memory['used_memory'] / 1e6:7.1f}"


def _environment(rates: dict[str, Rate]) -> dict[str, str]:
    limits = {variable(each): str(rates[each.name]) for each in fields(Settings) if each.name in rates}
    return limits | {"CLIENT_ADDRESS_HEADER": ADDRESS_HEADER}


def _tell(line: str, end: str = "\n") -> None:
    sys.stdout.write(f"{line}{end}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
