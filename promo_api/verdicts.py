"""What Redis keeps of the anti-fraud service for all processes: verdicts, whose turn it is to ask, and open breakers.

| Key | What it holds | Until when |
|---|---|---|
| antifraud:{user id}:verdict | `yes` or `no` | `cache_until`, to the millisecond |
| antifraud:{user id}:turn | the token of the attempt that may ask of the user | it has asked, or its lease is over |
| antifraud:open-breakers | processes, `host:pid`, each with the millisecond until which it refuses | it is well again |

The braces, which stand in the keys too, put those of one user into one slot of a Redis Cluster.

Redis being away is no error for the user, only a warning: nothing is kept then, and each attempt asks.
"""

import logging
import os
import secrets
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from uuid import UUID

import redis

from promo_api import metrics
from promo_api.antifraud_client import Verdict
from promo_api.redis_client import RedisClient
from promo_api.settings import Settings

_log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CACHED = {b"yes": True, b"no": False}
# For the ways to Redis and back, and for a busy processor.
_LEASE_MARGIN_S = 1.0
_OPEN_BREAKERS = "antifraud:open-breakers"

# pcall: a value that is no text is as none, and its error does not end the script. A turn that holds this attempt's
# token is its own: of an earlier call, whose lease begins anew, or of a try whose answer was lost on the way.
_NEXT_MOVE = b"""
local kept = redis.pcall('GET', KEYS[1])
if kept == 'yes' or kept == 'no' then return kept end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 'wait' end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 'ask'
"""
# Who has lost the turn, since its lease ran out, asked before whoever has it now: what that one kept stays.
_END_TURN = b"""
local mine = redis.call('GET', KEYS[2]) == ARGV[1]
if ARGV[2] ~= '' then
    if mine then
        redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
    else
        redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3], 'NX')
    end
end
if mine then redis.call('DEL', KEYS[2]) end
"""


class Move(Enum):
    """What an attempt is to do."""

    ALLOW = b"yes"
    REFUSE = b"no"
    ASK = b"ask"
    WAIT = b"wait"


@dataclass(frozen=True)
class Turn:
    """The claim of one attempt to be the only one that asks about its user."""

    user_id: UUID
    token: str = field(default_factory=lambda: secrets.token_hex(8))


class Verdicts:
    """Keeps verdicts for as long as they hold, and gives attempts the turn to ask, one at a time for each user.

    Whoever has the turn must ask for it again before each call: its lease covers one call and a second. A process that
    dies while it has the turn keeps the others from asking for no longer than that.
    """

    def __init__(self, settings: Settings) -> None:
        call_s = settings.antifraud_connect_timeout_s + settings.antifraud_read_timeout_s
        self._lease_ms = round((call_s + _LEASE_MARGIN_S) * 1000)
        self._redis = RedisClient(settings.redis, settings.redis_timeout_s)

    def find(self, user_id: UUID) -> bool | None:
        """Return the verdict that is kept; None: there is none, or Redis is away."""
        try:
            with self._redis.lent() as client:
                kept = client.get(_keys(user_id)[0])
        except redis.RedisError as error:
            metrics.verdicts_unavailable()
            _warn(error)
            return None
        verdict = _CACHED.get(kept) if isinstance(kept, bytes) else None
        metrics.verdict_looked_up(verdict)
        return verdict

    def next_move(self, turn: Turn) -> Move:
        """Return what the attempt is to do now: as the kept verdict says, else to ask or to wait for its turn.

        ASK gives it the turn for the length of a lease, or renews it. Without Redis there are no turns: everybody asks.
        """
        try:
            with self._redis.lent() as client:
                return Move(client.register_script(_NEXT_MOVE)(_keys(turn.user_id), (turn.token, self._lease_ms)))
        except redis.RedisError as error:
            _warn(error)
            return Move.ASK

    def end_turn(self, turn: Turn, verdict: Verdict | None) -> None:
        """Keep what the attempt was told, if that holds any longer, and let the next one have the turn."""
        word, until_ms = "", 0
        if verdict is not None and verdict.holds_until is not None and verdict.holds_until > datetime.now(UTC):
            word = "yes" if verdict.ok else "no"
            until_ms = _milliseconds(verdict.holds_until)
        try:
            with self._redis.lent() as client:
                client.register_script(_END_TURN)(_keys(turn.user_id), (turn.token, word, until_ms))
        except redis.RedisError as error:
            _warn(error)

    def delete(self, user_id: UUID) -> None:
        """Forget what is kept of a user."""
        try:
            with self._redis.lent() as client:
                client.delete(*_keys(user_id))
        except redis.RedisError as error:
            _warn(error)

    def keep_open_breaker(self, until: datetime) -> None:
        """Let it be known that this process refuses until then; what dead processes have left goes."""
        try:
            with self._redis.lent() as client, client.pipeline() as both:
                both.zremrangebyscore(_OPEN_BREAKERS, "-inf", _milliseconds(datetime.now(UTC)))
                both.zadd(_OPEN_BREAKERS, {_this_process(): _milliseconds(until)})
                both.execute()
        except redis.RedisError as error:
            _warn(error)

    def delete_open_breaker(self) -> None:
        """Let it be known that this process refuses no more."""
        try:
            with self._redis.lent() as client:
                client.zrem(_OPEN_BREAKERS, _this_process())
        except redis.RedisError as error:
            _warn(error)

    def list_open_breakers(self) -> list[tuple[str, datetime]]:
        """Return the processes, host:pid, that refuse now, each with the instant (UTC) until which it does.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        now_ms = _milliseconds(datetime.now(UTC))
        with self._redis.lent() as client:
            found = client.zrangebyscore(_OPEN_BREAKERS, now_ms, "+inf", withscores=True)
        return [(member.decode(), _EPOCH + timedelta(milliseconds=until_ms)) for member, until_ms in found]

    def ping(self) -> None:
        """Raise redis.RedisError, with a reason, if Redis does not answer."""
        with self._redis.lent() as client:
            client.ping()

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()


def _warn(error: redis.RedisError) -> None:
    _log.warning("antifraud_cache_unavailable", extra={"reason": type(error).__name__})


def _keys(user_id: UUID) -> tuple[str, str]:
    return f"antifraud:{{{user_id}}}:verdict", f"antifraud:{{{user_id}}}:turn"


def _this_process() -> str:
    # Asked for each time: a runtime may be made before a fork.
    return f"{socket.gethostname()}:{os.getpid()}"


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
