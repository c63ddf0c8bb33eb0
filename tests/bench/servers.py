"""The servers that the service needs during a benchmark."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import requests

import promo_api.contract  # noqa: F401 it hides warnings of importing Connexion
from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.valkey import EmbeddedValkey

SECRET_KEY = "a key for measuring" * 2

_DAY_MS = 86_400_000


@contextmanager
def embedded_servers(folder: Path) -> Iterator[tuple[EmbeddedPostgres, dict[str, str]]]:
    """Run PostgreSQL, Valkey and the anti-fraud stub.

    Verdicts can be cached for a day, so the benchmark does not measure the stub.

    Args:
        folder: of their data.

    Returns:
        PostgreSQL, without a database for the service, and the settings of the service without POSTGRES_DATABASE.
    """
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        antifraud = stack.enter_context(EmbeddedAntifraud())
        url = f"http://{antifraud.address}/stub/behaviour"
        requests.put(url, json={"cache_ms": _DAY_MS}, timeout=10).raise_for_status()
        yield (
            postgres,
            {
                "POSTGRES_HOST": postgres.host,
                "POSTGRES_PORT": str(postgres.port),
                "POSTGRES_USERNAME": postgres.username,
                "REDIS_HOST": valkey.host,
                "REDIS_PORT": str(valkey.port),
                "ANTIFRAUD_ADDRESS": antifraud.address,
                "SECRET_KEY": SECRET_KEY,
                # Counted, but never reached: the few users of a benchmark activate far more than real ones.
                "ACTIVATIONS_PER_USER": "100000000/60",
            },
        )


def used_by_sessions_s(postgres: EmbeddedPostgres) -> float:
    """Return the processor time of all sessions of the database promo in seconds, also of ended ones."""
    server = postgres._server()
    assert server is not None
    ended = server.cpu_times()
    used = ended.children_user + ended.children_system
    for each in server.children():
        with suppress(psutil.NoSuchProcess):
            if " promo " in " ".join(each.cmdline()):
                used += sum(each.cpu_times()[:2])
    return float(used)
