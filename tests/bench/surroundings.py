"""What the service needs in order to be measured, on this machine."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

import promo_api.contract  # noqa: F401 it silences what the import of Connexion warns of
from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.valkey import EmbeddedValkey

SECRET_KEY = "a key for measuring" * 2

_DAY_MS = 86_400_000


@contextmanager
def surroundings(folder: Path) -> Iterator[tuple[EmbeddedPostgres, dict[str, str]]]:
    """Run PostgreSQL, Valkey and a stand-in of the anti-fraud service, whose verdicts hold for a day.

    So it is asked once about each user, and is not what is measured.

    Args:
        folder: of the data of all of them.

    Returns:
        PostgreSQL, on which no database has been made yet, and the settings of the service, all but POSTGRES_DATABASE.
    """
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        antifraud = stack.enter_context(EmbeddedAntifraud())
        kept = requests.put(f"http://{antifraud.address}/stub/behaviour", json={"cache_ms": _DAY_MS}, timeout=10)
        kept.raise_for_status()
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
                # Few users activate as much as all of a city would; it is counted all the same.
                "ACTIVATIONS_PER_USER": "100000000/60",
            },
        )
