"""Admission: the thread pools, whose turn a request takes there, and what is refused on request.

Accounts take turns, and one account fills at most half of the threads of a pool. For an operation without a token, the
client address stands for the account. Requests that need a password hash take turns by client address, and behind an
address by account.
"""

from promo_api.contract.client_address import client_network
from promo_api.contract.fair_queue import Source
from promo_api.contract.thread_pool import PoolLimits
from promo_api.contract.thread_pools import DEFAULT, RequestInfo
from promo_api.limits import ACTIVATIONS, PASSWORD_CHANGES, Limits
from promo_api.settings import Settings

_UPDATE_PROFILE = "user_profile.update_profile"
_ACTIVATIONS, _PASSWORDS, _HEALTH = "antifraud", "passwords", "health"
# As many as there are active threads.
_PREFETCHED = 3
# A page at a larger offset makes PostgreSQL skip many rows. An account reads one such page at a time.
_DEEP_OFFSET = 1000


def pool_limits(settings: Settings) -> dict[str, PoolLimits]:
    """Return the limits of each thread pool, by its name in api.yml."""
    places, wait_s = settings.server_queue, settings.server_queue_timeout_s
    of_account = max(1, places // 4)
    return {
        DEFAULT: PoolLimits(settings.server_threads, places, of_account, wait_s, _PREFETCHED),
        # An activation waits for another one of its user, which may wait for the anti-fraud service.
        _ACTIVATIONS: PoolLimits(
            settings.antifraud_threads,
            places,
            of_account,
            max(wait_s, settings.antifraud_lease_timeout_s),
            _PREFETCHED,
        ),
        # While some threads hash, another one reads and writes what goes with a hash.
        _PASSWORDS: PoolLimits(
            settings.argon2_concurrency + 1, settings.argon2_queue, max(1, settings.argon2_queue // 2), wait_s
        ),
        # Its result is cached: one thread is enough.
        _HEALTH: PoolLimits(1, places, of_account, wait_s),
    }


class Admission:
    """Admits requests on the event loop, so nothing here waits.

    Args:
        settings: of the service.
        limits: count what is limited on request.
    """

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self._limits = limits
        self._half = {name: max(1, pool.threads // 2) for name, pool in pool_limits(settings).items()}
        self._hashing_threads = settings.argon2_concurrency + 1

    def __call__(self, request: RequestInfo) -> tuple[str, Source]:
        """Return the thread pool of a request, and its source.

        Raises:
            TooManyRequests: the user has sent too many activations, or changes of the password.
        """
        # Only some changes of a profile need a password hash.
        if request.operation_id == _UPDATE_PROFILE and request.arguments.get("body", {}).get("password"):
            request = request._replace(pool=_PASSWORDS)
        return request.pool, self._source(request)

    def _source(self, request: RequestInfo) -> Source:
        if request.pool == _PASSWORDS:
            return self._hash_source(request)
        if request.claims is None:
            return Source(client_network(request.client_address), None, self._half[request.pool])
        account_id = request.claims.account_id
        if request.pool == _ACTIVATIONS:
            # With an Idempotency-Key it may be a replay, which does not count.
            if request.is_valid and "idempotency_key" not in request.arguments:
                self._limits.count_arrival(ACTIVATIONS, account_id)
            # One at a time: another one would only wait for the anti-fraud verdict that the first requests.
            return Source(account_id, None, 1)
        if request.arguments.get("offset", 0) > _DEEP_OFFSET:
            return Source(("deep", account_id), None, 1)
        return Source(account_id, None, self._half[request.pool])

    def _hash_source(self, request: RequestInfo) -> Source:
        network = client_network(request.client_address)
        if request.claims is not None:
            if request.operation_id == _UPDATE_PROFILE and request.is_valid:
                self._limits.count_arrival(PASSWORD_CHANGES, request.claims.account_id)
            return Source(network, request.claims.account_id, self._hashing_threads)
        email = request.arguments.get("body", {}).get("email", "")
        return Source(network, email.casefold(), self._hashing_threads)
