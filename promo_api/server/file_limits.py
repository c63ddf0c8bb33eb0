"""The limit of open files."""

import resource
import sys

from promo_api.config.settings import Settings

# Log, metrics, sockets and threads, with a margin.
_FILES_PER_WORKER = 64
# Two to Redis, one to the anti-fraud service.
_CONNECTIONS_PER_THREAD = 3


def raise_file_limit() -> None:
    """Raise the limit, which workers inherit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def max_connections(settings: Settings) -> int:
    """Return how many client connections a worker may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    threads = settings.server_threads + settings.antifraud_threads
    pools = 2 if settings.postgres_read_host else 1
    reserved = _FILES_PER_WORKER + pools * settings.pool_size + _CONNECTIONS_PER_THREAD * threads
    return max(limit - reserved, limit // 2)
