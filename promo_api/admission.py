"""The thread pool and the queue of each request, and requests refused on arrival.

Requests queue by account, or by client address without a token. So does the first request with an API key in a worker,
because its account is not known. One account uses at most half of the threads of a pool.
Requests that need a password hash queue by address, then by account. Of operations that can stream, only requests and
responses that are streamed run in the pool `streams`.
"""

from promo_api.config.settings import Settings
from promo_api.contract.client_address import client_network
from promo_api.contract.fair_queue import Source
from promo_api.contract.thread_pool import PoolLimits
from promo_api.contract.thread_pools import DEFAULT, RequestInfo
from promo_api.folding import fold
from promo_api.security.rate_limits import ACTIVATIONS, PASSWORD_CHANGES, RateLimits

_UPDATE_PROFILE = {"user_profile.update_profile", "business_profile.update_profile"}
_ACTIVATIONS, _PASSWORDS, _HEALTH, _STREAMS = "antifraud", "passwords", "health", "streams"
_PREFETCHED = 3
# At a larger offset PostgreSQL skips many rows, so an account reads one such page at a time.
_DEEP_OFFSET = 1000
# With these filters PostgreSQL counts and reads all promos that match, not only those of the page: one at a time too.
_SLOW_FILTERS = {
    "business_promos.list_promos": {"state", "mode", "q"},
    "user_promos.list_feed": {"company_id", "liked", "q"},
}
# A thread waits for its client, which may be slow. Two accounts must not hold them all.
_STREAM_THREADS, _STREAMS_PER_ACCOUNT = 8, 2


def pool_limits(settings: Settings) -> dict[str, PoolLimits]:
    """Return the limits of each thread pool, by its name in api.yml."""
    queue, timeout_s = settings.server_queue, settings.server_queue_timeout_s
    per_account = max(1, queue // 4)
    return {
        DEFAULT: PoolLimits(settings.server_threads, queue, per_account, timeout_s, _PREFETCHED),
        _ACTIVATIONS: PoolLimits(
            settings.antifraud_threads,
            queue,
            per_account,
            # It may wait for an earlier activation of its user.
            max(timeout_s, settings.antifraud_lease_timeout_s),
            _PREFETCHED,
        ),
        # One more than hashes: it accesses the database while the others hash.
        _PASSWORDS: PoolLimits(
            settings.argon2_concurrency + 1, settings.argon2_queue, max(1, settings.argon2_queue // 2), timeout_s
        ),
        # One thread, because the result is cached.
        _HEALTH: PoolLimits(1, queue, per_account, timeout_s),
        _STREAMS: PoolLimits(_STREAM_THREADS, queue, per_account, timeout_s),
    }


class Admission:
    """Assigns requests to thread pools and queues. It runs on the event loop, so it must not block."""

    def __init__(self, settings: Settings, rate_limits: RateLimits) -> None:
        self._rate_limits = rate_limits
        self._half = {name: max(1, pool.threads // 2) for name, pool in pool_limits(settings).items()}
        self._half[_STREAMS] = _STREAMS_PER_ACCOUNT
        self._hashing_threads = settings.argon2_concurrency + 1

    def __call__(self, request: RequestInfo) -> tuple[str, Source]:
        """Return the thread pool and the source of a request. Raise TooManyRequests over a limit."""
        if request.operation_id in _UPDATE_PROFILE and request.arguments.get("body", {}).get("password"):
            request = request._replace(pool=_PASSWORDS)
        elif request.pool == _STREAMS and not request.is_streamed:
            request = request._replace(pool=DEFAULT)
        return request.pool, self._source(request)

    def _source(self, request: RequestInfo) -> Source:
        if request.pool == _PASSWORDS:
            return self._hash_source(request)
        account_id = None if request.claims is None else request.claims.account_id
        if account_id is None:
            return Source(client_network(request.client_address), None, self._half[request.pool])
        if request.pool == _ACTIVATIONS:
            # With an Idempotency-Key it may be a replay, which does not count.
            if request.is_valid and "idempotency_key" not in request.arguments:
                self._rate_limits.count_arrival(ACTIVATIONS, account_id)
            # One at a time, because the next would only wait for the verdict of the first.
            return Source(account_id, None, 1)
        slow_filters = _SLOW_FILTERS.get(request.operation_id)
        is_slow = slow_filters is not None and not slow_filters.isdisjoint(request.arguments)
        if is_slow or request.arguments.get("offset", 0) > _DEEP_OFFSET:
            return Source(("deep", account_id), None, 1)
        return Source(account_id, None, self._half[request.pool])

    def _hash_source(self, request: RequestInfo) -> Source:
        network = client_network(request.client_address)
        if request.claims is not None:
            if request.operation_id in _UPDATE_PROFILE and request.is_valid:
                self._rate_limits.count_arrival(PASSWORD_CHANGES, request.claims.account_id)
            return Source(network, request.claims.account_id, self._hashing_threads)
        email = request.arguments.get("body", {}).get("email", "")
        return Source(network, fold(email), self._hashing_threads)
