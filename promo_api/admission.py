"""Admission: the thread pools, the fair queue of each, and requests that are refused on arrival.

Requests queue by account, and one account uses at most half of the threads of a pool. Operations without a token queue
by client address. Requests that need a password hash queue by client address, and within an address by account.
"""

from promo_api.contract.client_address import client_network
from promo_api.contract.fair_queue import Source
from promo_api.contract.thread_pool import PoolLimits
from promo_api.contract.thread_pools import DEFAULT, Arrival
from promo_api.limits import ACTIVATIONS, PASSWORD_CHANGES, RateLimits
from promo_api.settings import Settings

_CHANGE_PASSWORD = "user_profile.update_profile"  # noqa: S105 it is an operationId
_ACTIVATIONS, _PASSWORDS, _HEALTH = "antifraud", "passwords", "health"
# The number of active threads.
_PREFETCHED = 3
# PostgreSQL skips many rows for a page at a larger offset. An account reads one such page at a time.
_DEEP_OFFSET = 1000


def pool_limits(settings: Settings) -> dict[str, PoolLimits]:
    """Return the limits of each thread pool, by its name in api.yml."""
    places, wait_s = settings.server_queue, settings.server_queue_timeout_s
    of_account = max(1, places // 4)
    return {
        DEFAULT: PoolLimits(settings.server_threads, places, of_account, wait_s, _PREFETCHED),
        # An activation waits for other activations of its user, which may wait for the anti-fraud service.
        _ACTIVATIONS: PoolLimits(
            settings.antifraud_threads,
            places,
            of_account,
            max(wait_s, settings.antifraud_turn_timeout_s),
            _PREFETCHED,
        ),
        # One thread more than hashes: it reads and writes accounts while the others hash.
        _PASSWORDS: PoolLimits(
            settings.argon2_concurrency + 1, settings.argon2_queue, max(1, settings.argon2_queue // 2), wait_s
        ),
        # Its result is cached: one thread is enough.
        _HEALTH: PoolLimits(1, places, of_account, wait_s),
    }


class Admission:
    """Admits requests on the event loop, so nothing here may block.

    Args:
        rate_limits: count activations and password changes on arrival.
    """

    def __init__(self, settings: Settings, rate_limits: RateLimits) -> None:
        self._rate_limits = rate_limits
        self._half = {name: max(1, pool.threads // 2) for name, pool in pool_limits(settings).items()}
        self._hashing_threads = settings.argon2_concurrency + 1

    def __call__(self, arrival: Arrival) -> Source:
        """Return the queue of a request.

        Raises:
            TooManyRequests: the user has sent too many activations or password changes.
        """
        if arrival.pool == _PASSWORDS:
            return self._hash_source(arrival)
        if arrival.claims is None:
            return Source(client_network(arrival.client_address), None, self._half[arrival.pool])
        account_id = arrival.claims.account_id
        if arrival.pool == _ACTIVATIONS:
            # A request with an Idempotency-Key may be a replay, which does not count.
            if arrival.is_valid and "idempotency_key" not in arrival.arguments:
                self._rate_limits.count_arrival(ACTIVATIONS, account_id)
            # One at a time: a second activation would only wait for the anti-fraud verdict of the first.
            return Source(account_id, None, 1)
        if arrival.arguments.get("offset", 0) > _DEEP_OFFSET:
            return Source(("deep", account_id), None, 1)
        return Source(account_id, None, self._half[arrival.pool])

    def _hash_source(self, arrival: Arrival) -> Source:
        network = client_network(arrival.client_address)
        if arrival.claims is not None:
            if arrival.operation_id == _CHANGE_PASSWORD and arrival.is_valid:
                self._rate_limits.count_arrival(PASSWORD_CHANGES, arrival.claims.account_id)
            return Source(network, arrival.claims.account_id, self._hashing_threads)
        email = arrival.arguments.get("body", {}).get("email", "")
        return Source(network, email.casefold(), self._hashing_threads)
