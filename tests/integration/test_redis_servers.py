"""Verdicts and limits in several Redis servers: with Sentinels when the primary dies, and in a Cluster."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import redis

from promo_api.antifraud import Antifraud
from promo_api.errors import TooManyRequests
from promo_api.limits import ACTIVATIONS, Limits
from promo_api.sandbox.ports import free_port
from promo_api.sandbox.processes import wait_until
from promo_api.sandbox.valkey import _program
from promo_api.setting_values import Rate
from promo_api.settings import Settings
from tests.antifraud_control import HOUR_MS, Member, StandIn

_HOST, _PASSWORD = "127.0.0.1", "hunter2"
_START_S, _END_S, _PATIENCE_S = 20, 10, 15
_SENTINEL = """
sentinel monitor verdicts {host} {port} 1
sentinel auth-pass verdicts {password}
sentinel down-after-milliseconds verdicts 300
sentinel failover-timeout verdicts 3000
"""


class Process:
    """A server of Redis' kind on a free port, in a folder of its own."""

    def __init__(self, stack: ExitStack, folder: Path, *options: str, configuration: str | None = None) -> None:
        folder.mkdir()
        self.port = free_port(_HOST)
        file = folder / "configuration"
        file.write_text(configuration or "")
        # The watchdog reads the environment, which a server overwrites when it sets its title.
        command = [_program(), str(file), *options, "--bind", _HOST, "--port", str(self.port), "--dir", str(folder)]
        command += ["--set-proc-title", "no"]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
        stack.callback(self.kill)
        self.client = stack.enter_context(redis.Redis(_HOST, self.port, password=_password(options)))
        assert wait_until(self._answers, _START_S), (folder / "log").read_text()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(_END_S)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


def _password(options: tuple[str, ...]) -> str | None:
    return _PASSWORD if _PASSWORD in options else None


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is opened on it is closed at the end."""
    with ExitStack() as stack:
        yield stack


def _calls(stand_in: StandIn, antifraud: Antifraud, *members: Member) -> int:
    """Let each member try to activate some promo, which is allowed, and return how many calls that took."""
    before = stand_in.calls(*members)
    assert all(member.tries(antifraud) for member in members)
    return stand_in.calls(*members) - before


def _is_reached(antifraud: Antifraud) -> bool:
    try:
        antifraud.ping_cache()
    except redis.RedisError:
        return False
    return True


def _limits(stack: ExitStack, settings: Settings, url: str) -> Limits:
    limits = Limits(replace(settings, redis_url=url, activations_per_user=Rate(2, 600)))
    stack.callback(limits.close)
    return limits


def _counted(node: Process) -> list[object]:
    return [node.client.get(key) for key in node.client.keys("limits:*")]


def _passes(limits: Limits, user_id: UUID) -> bool:
    """Tell whether one more activation of a user is let through."""
    try:
        limits.count_for(ACTIVATIONS, user_id)
    except TooManyRequests:
        return False
    return True


def test_primary_dies(
    stack: ExitStack, settings: Settings, antifrauds: Callable[..., Antifraud], stand_in: StandIn, tmp_path: Path
) -> None:
    """Without the primary that Sentinels named each attempt asks, and nothing is limited; what it had kept holds once
    they name another.
    """
    secret = ["--requirepass", _PASSWORD, "--masterauth", _PASSWORD]
    primary = Process(stack, tmp_path / "primary", *secret)
    replica = Process(stack, tmp_path / "replica", *secret, "--replicaof", _HOST, str(primary.port))
    watched = _SENTINEL.format(host=_HOST, port=primary.port, password=_PASSWORD)
    sentinel = Process(stack, tmp_path / "sentinel", "--sentinel", configuration=watched)
    assert wait_until(lambda: sentinel.client.sentinel_master("verdicts")["num-slaves"] == 1, _PATIENCE_S)
    url = f"redis+sentinel://:{_PASSWORD}@{_HOST}:{sentinel.port}/verdicts"
    antifraud, limits, user_id = antifrauds(redis_url=url), _limits(stack, settings, url), uuid4()

    first, second = Member(), Member()
    for member in (first, second):
        stand_in.answers(member, cache_ms=HOUR_MS)
    assert [_calls(stand_in, antifraud, first) for _ in range(2)] == [1, 0]
    assert wait_until(lambda: replica.client.exists(first.verdict_key) == 1, _PATIENCE_S)
    assert [_passes(limits, user_id) for _ in range(3)] == [True, True, False]
    assert wait_until(lambda: _counted(replica) == [b"3"], _PATIENCE_S)
    primary.kill()
    assert _passes(limits, user_id)
    assert [_calls(stand_in, antifraud, second) for _ in range(2)] == [1, 1]
    assert wait_until(lambda: replica.client.role()[0] == b"master", _PATIENCE_S)
    assert wait_until(lambda: _is_reached(antifraud), _PATIENCE_S)
    assert _calls(stand_in, antifraud, first) == 0
    assert [_calls(stand_in, antifraud, second) for _ in range(2)] == [1, 0]
    assert [_passes(limits, each) for each in (user_id, uuid4())] == [False, True]


def test_cluster(
    stack: ExitStack, settings: Settings, antifrauds: Callable[..., Antifraud], stand_in: StandIn, tmp_path: Path
) -> None:
    """Verdicts, turns, open breakers and limits are kept in a Cluster; without a server of it all is still allowed."""
    nodes = []
    for number in range(3):
        # Else it talks to the others on a port that may be taken: its own and 10,000.
        options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port(_HOST)))
        nodes.append(Process(stack, tmp_path / f"node-{number}", *options))
    for number, node in enumerate(nodes):
        slots = (str(16384 * number // 3), str(16384 * (number + 1) // 3 - 1))
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        node.client.execute_command("CLUSTER", "MEET", _HOST, str(nodes[0].port), _bus_port(nodes[0]))
    ok = b"cluster_state:ok"
    assert wait_until(lambda: all(ok in _cluster_info(node) for node in nodes), _PATIENCE_S)
    url = f"redis+cluster://{_HOST}:{nodes[0].port}"
    antifraud, limits = antifrauds(redis_url=url), _limits(stack, settings, url)

    antifraud.ping_cache()
    members = [Member() for _ in range(30)]
    for member in members:
        stand_in.answers(member, cache_ms=HOUR_MS)
    assert [_calls(stand_in, antifraud, *members) for _ in range(2)] == [30, 0]
    kept = [len(node.client.keys("*:verdict")) for node in nodes]
    assert (sum(kept), min(kept) > 0) == (30, True)
    verdicts = antifraud._verdicts
    verdicts.keep_open_breaker(datetime.now(UTC) + timedelta(hours=1))
    assert len(verdicts.list_open_breakers()) == 1
    verdicts.delete_open_breaker()
    assert verdicts.list_open_breakers() == []
    users = [uuid4() for _ in range(30)]
    assert [[_passes(limits, user_id) for user_id in users] for _ in range(3)] == [[True] * 30] * 2 + [[False] * 30]
    counted = [len(node.client.keys("limits:*")) for node in nodes]
    assert (sum(counted), min(counted) > 0) == (30, True)
    nodes[2].kill()
    assert _calls(stand_in, antifraud, *members) >= kept[2]
    assert sum(_passes(limits, user_id) for user_id in users) >= counted[2]


def _bus_port(node: Process) -> str:
    found: dict[str, str] = node.client.config_get("cluster-port")
    return found["cluster-port"]


def _cluster_info(node: Process) -> bytes:
    # As it is sent: redis-py makes a dict of it.
    return bytes(node.client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True))


def test_nobody_listens(antifrauds: Callable[..., Antifraud], stand_in: StandIn) -> None:
    """Sentinels or a Cluster that can't be reached are as a Redis that is away: each attempt asks."""
    ports = f"{_HOST}:{free_port(_HOST)},{_HOST}:{free_port(_HOST)}"
    for url in (f"redis+sentinel://{ports}/verdicts", f"redis+cluster://{ports}"):
        antifraud = antifrauds(redis_url=url)
        member = Member()
        stand_in.answers(member, cache_ms=HOUR_MS)
        assert [_calls(stand_in, antifraud, member) for _ in range(2)] == [1, 1]
        with pytest.raises(redis.RedisError):
            antifraud.ping_cache()
