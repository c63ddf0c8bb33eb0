"""A PostgreSQL that is stopped by SIGSTOP: unresponsive, while the kernel keeps its connections open."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer

import psutil

from promo_api.dev.postgres import EmbeddedPostgres

_TIMEOUT_S = 90


@contextmanager
def frozen(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Stop every process of a server during a block."""
    server = postgres._server()
    assert server is not None
    # The parent first: it must not start processes that are missed here.
    server.suspend()
    processes = [*server.children(recursive=True), server]
    # A test that waits for the server must fail instead of hanging.
    timer = Timer(_TIMEOUT_S, _resume, [processes])
    timer.start()
    try:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        timer.cancel()
        timer.join()
        _resume(processes)


def _resume(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()
