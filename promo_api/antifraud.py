"""The anti-fraud service: may this user activate?

A verdict is what Redis keeps, if the service said how long it holds; else what the service answers, which is asked at
most twice. No verdict is a no. The service is foreign and slow: it is asked while no database connection is held, for
each user by one attempt at a time, and for a while not at all when it has failed again and again.
"""

import logging
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from promo_api import metrics
from promo_api.antifraud_client import AntifraudClient, NoVerdict, Verdict
from promo_api.circuit_breaker import CircuitBreaker, State
from promo_api.settings import Settings
from promo_api.verdicts import Move, Turn, Verdicts

_log = logging.getLogger(__name__)

_CALLS = 2
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S, _PAUSE_GROWTH = 0.005, 0.05, 1.5


class Antifraud:
    """Tells who may activate: by the verdicts that hold, else by asking.

    Attempts of one user ask one after the other, in whatever processes they are: most of them find the verdict that the
    first one got. An attempt takes at most, by names of settings,

        ANTIFRAUD_TURN_TIMEOUT_S                                         to wait for its turn
        + 2 x (ANTIFRAUD_CONNECT_TIMEOUT_S + ANTIFRAUD_READ_TIMEOUT_S)   to ask, and to ask once more
        + 12 x REDIS_TIMEOUT_S                                           if Redis answers nothing any more

    The last is for six visits to Redis at most, to look for a verdict, take the turn, renew it, end it, and to tell
    twice of the breaker; each is tried twice. See AntifraudClient for what a name of the service with many addresses
    adds.

    A process that dies while it asks keeps the others of its user from asking for at most ANTIFRAUD_CONNECT_TIMEOUT_S +
    ANTIFRAUD_READ_TIMEOUT_S + 1 s; ANTIFRAUD_TURN_TIMEOUT_S should be longer than that.
    """

    def __init__(self, settings: Settings) -> None:
        self._client = AntifraudClient(settings)
        self._verdicts = Verdicts(settings)
        self._turn_timeout_s = settings.antifraud_turn_timeout_s
        self._cooldown_s = settings.antifraud_breaker_cooldown_s
        self._attempt_s = _CALLS * (settings.antifraud_connect_timeout_s + settings.antifraud_read_timeout_s)
        self._breaker = CircuitBreaker(settings.antifraud_breaker_failures, self._cooldown_s, self._on_breaker_change)

    def has_allowed(self, user_id: UUID) -> bool:
        """Tell whether a verdict that holds says yes. Nobody is asked, and nothing changes."""
        return self._verdicts.find(user_id) is True

    def allows(self, user_id: UUID, email: str, promo_id: UUID) -> bool:
        """Tell whether the user may activate the promo; False also if the service can't say."""
        if self._breaker.refuses():
            return self._verdicts.find(user_id) is True
        turn, gives_up_at = Turn(user_id), time.monotonic() + self._turn_timeout_s
        move = self._move(turn, gives_up_at)
        if move is not Move.ASK:
            return move is Move.ALLOW
        verdict = None
        try:
            verdict = self._breaker.run(lambda: self._asked(turn, gives_up_at, email, promo_id))
        finally:
            self._verdicts.end_turn(turn, verdict)
        return verdict is not None and verdict.ok

    def has_blocked(self, user_id: UUID) -> bool:
        """Tell whether a verdict that holds says no. Nobody is asked, and nothing changes."""
        return self._verdicts.find(user_id) is False

    def forget(self, user_id: UUID) -> None:
        """Forget what is known of a user; if Redis does not answer, it forgets by itself when the verdict ends."""
        self._verdicts.delete(user_id)

    def list_open_breakers(self) -> list[tuple[str, datetime]]:
        """Return the processes, host:pid, that ask no more for a while, and until when (UTC) each refuses.

        Raises:
            redis.RedisError: with a reason, if Redis does not answer.
        """
        return self._verdicts.list_open_breakers()

    def ping_cache(self) -> None:
        """Raise redis.RedisError, with a reason, if Redis does not answer."""
        self._verdicts.ping()

    def ping_service(self) -> None:
        """Raise OSError, with a reason, if no connection to the service can be opened. No request is sent."""
        self._client.ping()

    def is_given_up(self) -> bool:
        """Tell whether this process asks the service no more for a while."""
        return self._breaker.refuses()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
        self._verdicts.close()

    def _move(self, turn: Turn, gives_up_at: float) -> Move:
        """Wait for the verdict or the turn; WAIT: neither came before the time was up, or the breaker opened."""
        pause_s = _SHORTEST_PAUSE_S
        while (move := self._verdicts.next_move(turn)) is Move.WAIT and not self._breaker.refuses():
            left_s = gives_up_at - time.monotonic()
            if left_s <= 0:
                _log.warning("antifraud_turn_timeout", extra={"user_id": turn.user_id})
                break
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * _PAUSE_GROWTH, _LONGEST_PAUSE_S)
        return move

    def _asked(self, turn: Turn, gives_up_at: float, email: str, promo_id: UUID) -> Verdict | None:
        for call in range(1, _CALLS + 1):
            # Renews the lease. Who was held up for longer than that may find another's turn, or what that one was told.
            if call > 1 and (move := self._move(turn, gives_up_at)) is not Move.ASK:
                return None if move is Move.WAIT else Verdict(move is Move.ALLOW, None)
            began_s = time.perf_counter()
            try:
                verdict = self._client.ask(email, promo_id)
            except NoVerdict as error:
                metrics.antifraud_failed(time.perf_counter() - began_s)
                _log.warning("antifraud_no_answer", extra={"attempt": call, "of": _CALLS, "reason": str(error)})
            else:
                metrics.antifraud_answered(allowed=verdict.ok, duration_s=time.perf_counter() - began_s)
                return verdict
        return None

    def _on_breaker_change(self, state: State) -> None:
        """Publish the state of the circuit breaker: in metrics, in the log, and in Redis for `check`."""
        metrics.breaker_changed(state.value)
        if state is State.CLOSED:
            _log.warning("antifraud_breaker_closed")
            self._verdicts.delete_open_breaker()
            return
        if state is State.OPEN:
            _log.warning("antifraud_breaker_opened", extra={"cooldown_s": self._cooldown_s})
        # A half-open circuit refuses all activations but the probe.
        seconds = self._cooldown_s if state is State.OPEN else self._attempt_s
        self._verdicts.keep_open_breaker(datetime.now(UTC) + timedelta(seconds=seconds))
