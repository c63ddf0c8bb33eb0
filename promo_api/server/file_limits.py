"""The limit of open files, which limits connections."""

import resource
import sys

from promo_api.settings import Settings

# Log, metrics, event loop, listening sockets and threads of a worker, with a margin.
_FILES_OF_A_WORKER = 64
# Of each thread: to Redis for limits and for verdicts, and to the anti-fraud service.
_CONNECTIONS_OF_A_THREAD = 3


def raise_file_limit() -> None:
    """Raise the limit of open files as far as the process may: workers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_max(settings: Settings) -> int:
    """Return how many connections of clients a worker may have; the other files are for PostgreSQL, Redis and more."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    threads = settings.server_threads + settings.antifraud_threads
    reserve = _FILES_OF_A_WORKER + settings.pool_size + _CONNECTIONS_OF_A_THREAD * threads
    return max(limit - reserve, limit // 2)
