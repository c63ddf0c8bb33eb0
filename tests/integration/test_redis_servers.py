"""Verdicts and rate limits on several Redis servers: Sentinels whose primary fails, and a Cluster."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import redis

from promo_api.antifraud.checks import Antifraud
from promo_api.config.settings import Settings
from promo_api.config.values import Rate
from promo_api.dev.ports import free_port
from promo_api.dev.processes import wait_until
from promo_api.dev.valkey import valkey_program
from promo_api.errors import TooManyRequests
from promo_api.security.rate_limits import RateLimits
from tests.antifraud_control import HOUR_MS, AntifraudControl, AntifraudUser

_HOST, _PASSWORD = "127.0.0.1", "hunter2"
_START_S, _END_S, _TIMEOUT_S = 20, 10, 15
_SENTINEL = """
sentinel monitor verdicts {host} {port} 1
sentinel auth-pass verdicts {password}
sentinel down-after-milliseconds verdicts 300
sentinel failover-timeout verdicts 3000
"""


class Process:
    """A Valkey server on a free port, with its own folder."""

    def __init__(self, stack: ExitStack, folder: Path, *options: str, configuration: str | None = None) -> None:
        folder.mkdir()
        self.port = free_port(_HOST)
        file = folder / "configuration"
        file.write_text(configuration or "")
        # A server that sets its process title overwrites its environment, which the watchdog reads.
        command = [
            valkey_program(),
            str(file),
            *options,
            "--bind",
            _HOST,
            "--port",
            str(self.port),
            "--dir",
            str(folder),
        ]
        command += ["--set-proc-title", "no"]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
        stack.callback(self.kill)
        self.client = stack.enter_context(redis.Redis(_HOST, self.port, password=_password(options)))
        assert wait_until(self._responds, _START_S), (folder / "log").read_text()

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait(_END_S)

    def _responds(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


def _password(options: tuple[str, ...]) -> str | None:
    return _PASSWORD if _PASSWORD in options else None


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes its resources after the test."""
    with ExitStack() as stack:
        yield stack


def _count_calls(antifraud_control: AntifraudControl, antifraud: Antifraud, *users: AntifraudUser) -> int:
    """Let each user activate a promo, which is allowed; return the number of calls to the anti-fraud service."""
    before = antifraud_control.count_calls(*users)
    assert all(user.is_allowed_by(antifraud) for user in users)
    return antifraud_control.count_calls(*users) - before


def _is_reachable(antifraud: Antifraud) -> bool:
    try:
        antifraud.ping_cache()
    except redis.RedisError:
        return False
    return True


def _limits(stack: ExitStack, settings: Settings, url: str) -> RateLimits:
    limits = RateLimits(
        replace(settings, redis_url=url, activations_per_user=Rate(2, 600), unknown_codes_per_key=Rate(2, 600))
    )
    stack.callback(limits.close)
    return limits


def _read_counters(node: Process) -> list[object]:
    return [node.client.get(key) for key in node.client.keys("rate-limit:*")]


def _is_within_limit(limits: RateLimits, user_id: UUID) -> bool:
    """Count an activation; return whether it is within the limit."""
    try:
        limits.count_activation(user_id)
    except TooManyRequests:
        return False
    return True


def _is_code_allowed(limits: RateLimits, company_id: UUID) -> bool:
    """Count an unknown code of a company's key, and return whether it is within the limits."""
    try:
        limits.count_unknown_code(limits.unknown_codes(company_id, company_id))
    except TooManyRequests:
        return False
    return True


def test_failover(
    stack: ExitStack,
    settings: Settings,
    make_antifraud: Callable[..., Antifraud],
    antifraud_control: AntifraudControl,
    tmp_path: Path,
) -> None:
    """Without a primary no verdict is cached and nothing is limited. After the failover stored values count again."""
    secret = ["--requirepass", _PASSWORD, "--masterauth", _PASSWORD]
    primary = Process(stack, tmp_path / "primary", *secret)
    replica = Process(stack, tmp_path / "replica", *secret, "--replicaof", _HOST, str(primary.port))
    configuration = _SENTINEL.format(host=_HOST, port=primary.port, password=_PASSWORD)
    sentinel = Process(stack, tmp_path / "sentinel", "--sentinel", configuration=configuration)
    assert wait_until(lambda: sentinel.client.sentinel_master("verdicts")["num-slaves"] == 1, _TIMEOUT_S)
    url = f"redis+sentinel://:{_PASSWORD}@{_HOST}:{sentinel.port}/verdicts"
    antifraud, limits, user_id = make_antifraud(redis_url=url), _limits(stack, settings, url), uuid4()

    first, second = AntifraudUser(), AntifraudUser()
    for user in (first, second):
        antifraud_control.set_behaviour(user, cache_ms=HOUR_MS)
    assert [_count_calls(antifraud_control, antifraud, first) for _ in range(2)] == [1, 0]
    assert wait_until(lambda: replica.client.exists(first.verdict_key) == 1, _TIMEOUT_S)
    assert [_is_within_limit(limits, user_id) for _ in range(3)] == [True, True, False]
    assert wait_until(lambda: _read_counters(replica) == [b"3"], _TIMEOUT_S)
    primary.kill()
    assert _is_within_limit(limits, user_id)
    assert [_count_calls(antifraud_control, antifraud, second) for _ in range(2)] == [1, 1]
    assert wait_until(lambda: replica.client.role()[0] == b"master", _TIMEOUT_S)
    assert wait_until(lambda: _is_reachable(antifraud), _TIMEOUT_S)
    assert _count_calls(antifraud_control, antifraud, first) == 0
    assert [_count_calls(antifraud_control, antifraud, second) for _ in range(2)] == [1, 0]
    assert [_is_within_limit(limits, each) for each in (user_id, uuid4())] == [False, True]


def test_cluster(
    stack: ExitStack,
    settings: Settings,
    make_antifraud: Callable[..., Antifraud],
    antifraud_control: AntifraudControl,
    tmp_path: Path,
) -> None:
    """A Cluster stores verdicts, leases, open breakers and rate limits; if a server fails, nothing is refused."""
    nodes = []
    for number in range(3):
        # The default port of the cluster bus, port + 10000, may be in use.
        options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port(_HOST)))
        nodes.append(Process(stack, tmp_path / f"node-{number}", *options))
    for number, node in enumerate(nodes):
        slots = (str(16384 * number // 3), str(16384 * (number + 1) // 3 - 1))
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        node.client.execute_command("CLUSTER", "MEET", _HOST, str(nodes[0].port), _bus_port(nodes[0]))
    ok = b"cluster_state:ok"
    assert wait_until(lambda: all(ok in _cluster_info(node) for node in nodes), _TIMEOUT_S)
    url = f"redis+cluster://{_HOST}:{nodes[0].port}"
    antifraud, limits = make_antifraud(redis_url=url), _limits(stack, settings, url)

    antifraud.ping_cache()
    users = [AntifraudUser() for _ in range(30)]
    for user in users:
        antifraud_control.set_behaviour(user, cache_ms=HOUR_MS)
    assert [_count_calls(antifraud_control, antifraud, *users) for _ in range(2)] == [30, 0]
    verdict_counts = [len(node.client.keys("*:verdict")) for node in nodes]
    assert (sum(verdict_counts), min(verdict_counts) > 0) == (30, True)
    verdicts = antifraud._verdicts
    verdicts.record_open_breaker(datetime.now(UTC) + timedelta(hours=1))
    assert len(verdicts.list_open_breakers()) == 1
    verdicts.delete_open_breaker()
    assert verdicts.list_open_breakers() == []
    ids = [uuid4() for _ in range(30)]
    assert [[_is_within_limit(limits, user_id) for user_id in ids] for _ in range(3)] == [[True] * 30] * 2 + [
        [False] * 30
    ]
    counter_counts = [len(node.client.keys("rate-limit:*")) for node in nodes]
    assert (sum(counter_counts), min(counter_counts) > 0) == (30, True)
    assert [_is_code_allowed(limits, company) for company in ids for _ in range(3)] == [True, True, False] * 30
    nodes[2].kill()
    assert _count_calls(antifraud_control, antifraud, *users) >= verdict_counts[2]
    assert sum(_is_within_limit(limits, user_id) for user_id in ids) >= counter_counts[2]


def _bus_port(node: Process) -> str:
    settings: dict[str, str] = node.client.config_get("cluster-port")
    return settings["cluster-port"]


def _cluster_info(node: Process) -> bytes:
    # NEVER_DECODE: redis-py would parse the response into a dict.
    return bytes(node.client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True))


def test_unreachable_servers(make_antifraud: Callable[..., Antifraud], antifraud_control: AntifraudControl) -> None:
    """If Sentinels or the Cluster are unreachable, no verdict is cached: each attempt calls the service."""
    ports = f"{_HOST}:{free_port(_HOST)},{_HOST}:{free_port(_HOST)}"
    for url in (f"redis+sentinel://{ports}/verdicts", f"redis+cluster://{ports}"):
        antifraud = make_antifraud(redis_url=url)
        user = AntifraudUser()
        antifraud_control.set_behaviour(user, cache_ms=HOUR_MS)
        assert [_count_calls(antifraud_control, antifraud, user) for _ in range(2)] == [1, 1]
        with pytest.raises(redis.RedisError):
            antifraud.ping_cache()
