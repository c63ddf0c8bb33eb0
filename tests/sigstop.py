"""A PostgreSQL that is frozen and not dead: its processes stand still, and the kernel keeps their connections."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer

import psutil

from promo_api.sandbox.postgres import EmbeddedPostgres

_AT_MOST_S = 90


@contextmanager
def frozen(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Have every process of a server stand still for the time of a block."""
    server = postgres._server()
    assert server is not None
    # The one that makes the others first, so that none is missed.
    server.suspend()
    processes = [*server.children(recursive=True), server]
    # A test that waits for the server after all is to fail, and not to stand still as well.
    end = Timer(_AT_MOST_S, _resume, [processes])
    end.start()
    try:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        end.cancel()
        end.join()
        _resume(processes)


def _resume(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()
