"""A server with its own dependencies, which a test may stop, and the check of its log for secrets."""

from contextlib import closing, suppress
from dataclasses import dataclass

import psycopg
import requests

from persistence.database.engine import Database
from promo_api.config.settings import Settings
from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.processes import wait_until
from promo_api.dev.valkey import EmbeddedValkey
from promo_api.errors import ServiceUnavailable
from tests.e2e.server import Server


def assert_no_secrets(server: Server) -> None:
    """Assert that the log of a server contains no secret that the server received, sent or was configured with."""
    log = server.log
    assert log, "the log is empty"
    configured = {
        server.environment.get(name) for name in ("SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "SMTP_URL")
    }
    leaked = {secret for secret in server.remote.secrets | configured if secret and secret in log}
    assert not leaked, f"the log contains {sorted(leaked)}"


@dataclass
class Environment:
    """A server with its own PostgreSQL, Valkey and anti-fraud stub."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    antifraud: EmbeddedAntifraud
    server: Server

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of the server."""
        return self.server.environment

    def configure_antifraud(self, **behaviour: object) -> None:
        """Set the behaviour of the anti-fraud stub."""
        url = f"http://{self.antifraud.address}/stub/behaviour"
        assert requests.put(url, json=behaviour, timeout=10).status_code == 204

    def antifraud_calls(self, email: str) -> int:
        """Return the number of calls to the anti-fraud stub for an e-mail address."""
        response = requests.get(f"http://{self.antifraud.address}/stub/calls", timeout=10)
        return int(response.json()["by_email"].get(email, 0))

    def connections(self, last_statement: str = "%") -> int:
        """Return the number of connections to the database of the server, whose last statement matches a pattern."""
        target = {"host": self.postgres.host, "port": self.postgres.port, "user": self.postgres.username}
        with psycopg.connect(**target, dbname="postgres", autocommit=True) as connection:
            count = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'promo' AND query LIKE %s"
            [(number,)] = connection.execute(count, [last_statement]).fetchall()
        return int(number)

    def reset_antifraud(self) -> None:
        """Reset the anti-fraud stub, and release its delayed responses."""
        assert requests.delete(f"http://{self.antifraud.address}/stub", timeout=10).status_code == 204

    def start_postgres(self) -> None:
        """Start PostgreSQL, and wait until the server can connect: PgBouncer notices the start after a delay."""
        self.postgres.start()
        settings = Settings.from_environment(self.variables)

        def is_reached() -> bool:
            with (
                suppress(ServiceUnavailable),
                closing(Database(settings)) as database,
                database.autocommit() as connection,
            ):
                return connection.exec_driver_sql("SELECT 1").scalar_one() == 1
            return False

        assert wait_until(is_reached, 20)

    def restore(self) -> None:
        """Start the stopped servers, and reset the anti-fraud stub."""
        self.start_postgres()
        self.valkey.start()
        self.antifraud.start()
        self.reset_antifraud()
        assert wait_until(self.server.responds, 20)
