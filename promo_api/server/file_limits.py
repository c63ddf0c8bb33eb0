"""The limit of open files, which limits connections."""

import resource
import sys

from promo_api.config.settings import Settings

# Log, metrics, event loop, listening sockets and threads of a worker, with a margin.
_FILES_PER_WORKER = 64
# To Redis for rate limits, to Redis for the verdict cache, and to the anti-fraud service.
_CONNECTIONS_PER_THREAD = 3


def raise_file_limit() -> None:
    """Raise the limit of open files to the hard limit. Workers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def max_connections(settings: Settings) -> int:
    """Return how many client connections a worker may have. Other files are for PostgreSQL, Redis and more."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    threads = settings.server_threads + settings.antifraud_threads
    reserved = _FILES_PER_WORKER + settings.pool_size + _CONNECTIONS_PER_THREAD * threads
    return max(limit - reserved, limit // 2)
