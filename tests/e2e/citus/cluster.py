"""A Citus cluster for tests that kill its servers: a coordinator and two workers on local ports."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from persistence.database.engine import Database
from persistence.database.timeouts import response_timeout
from persistence.distribution import update_distribution
from persistence.migrations import update_schema
from promo_api.config.settings import Settings
from promo_api.dev.ports import free_port
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.processes import wait_gone, wait_until

HOST = "127.0.0.1"
_DATABASE = "promo"
_DISTRIBUTION_S = 300
# Few shards, because each of them is a file for each table and index. No TLS, because libpq would read the certificates
# of root, which the server may not.
_PARAMETERS = {
    "listen_addresses": HOST,
    "shared_preload_libraries": "citus",
    "wal_level": "logical",
    "max_prepared_transactions": "200",
    "citus.node_conninfo": "sslmode=disable",
    "citus.shard_count": "4",
}
_ON_THIS_SERVER = "SET citus.enable_create_database_propagation = off"
_PREPARED = "SELECT gid FROM pg_prepared_xacts"


def find_obstacle() -> str | None:
    """Return why no cluster can be started, in a sentence; None: nothing prevents it."""
    folder = os.environ.get("CITUS_BIN")
    if not folder:
        return "CITUS_BIN is not set: it must name the folder with the programs of a PostgreSQL that has Citus."
    if not (Path(folder) / "postgres").is_file():
        return f"CITUS_BIN names the folder {folder}, which has no program postgres."
    return None


class Node(EmbeddedPostgres):
    """A server of the cluster, with the programs in CITUS_BIN. A restart does not change its port."""

    # PostgreSQL has its own locales from version 17 on.
    _locale = ("--locale=C",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port(HOST)
        self._parameters = self._parameters | _PARAMETERS

    @staticmethod
    def _program(name: str) -> Path:
        return Path(os.environ["CITUS_BIN"]) / name

    def connect(self, database: str = _DATABASE) -> "psycopg.Connection[Any]":
        """Open a connection in autocommit mode."""
        return psycopg.connect(host=HOST, port=self.port, user=self.username, dbname=database, autocommit=True)

    def run(self, *statements: str, values: Sequence[object] = (), database: str = _DATABASE) -> list[tuple[Any, ...]]:
        """Run statements in autocommit mode. Return the rows of the last statement."""
        with self.connect(database) as connection:
            for statement in statements:
                cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def kill(self) -> None:
        """Kill all processes of the server at once, as the crash of a machine would, also if they are frozen."""
        processes = self.processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert wait_gone(processes, 10)

    def processes(self) -> list[psutil.Process]:
        """Return the processes of the server, the parent first."""
        server = self._server()
        assert server is not None
        return [server, *server.children(recursive=True)]

    def is_reached(self) -> bool:
        """Return whether the server accepts statements."""
        with suppress(psycopg.OperationalError):
            return self.run("SELECT 1") == [(1,)]
        return False


class Cluster:
    """A coordinator and two workers with the distributed tables of the service.

    Attributes:
        nodes: the coordinator, then the workers.
    """

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.coordinator, *self.workers = self.nodes = [
            stack.enter_context(Node(folder / name)) for name in ("coordinator", "worker-1", "worker-2")
        ]
        self._add_database(_DATABASE)
        with closing(Database(Settings.from_environment(self.variables(self.coordinator)))) as database:
            update_schema(database.engine)
            with database.autocommit() as connection, response_timeout(connection, _DISTRIBUTION_S):
                for _ in update_distribution(connection, lock_timeout_s=3):
                    pass

    @contextmanager
    def create_database(self, name: str) -> Iterator[None]:
        """Create a database without tables on all servers. It is dropped at the end."""
        self._add_database(name)
        try:
            yield
        finally:
            self.restore()
            for node in self.nodes:
                node.run(_ON_THIS_SERVER, f"DROP DATABASE {name} WITH (FORCE)", database="postgres")

    def _add_database(self, name: str) -> None:
        for node in self.nodes:
            node.run(_ON_THIS_SERVER, f"CREATE DATABASE {name}", database="postgres")
            node.run("CREATE EXTENSION citus", database=name)
        host = f"SELECT citus_set_coordinator_host('{HOST}', {self.coordinator.port})"
        add = [f"SELECT citus_add_node('{HOST}', {worker.port})" for worker in self.workers]
        self.coordinator.run(host, *add, database=name)

    @staticmethod
    def variables(node: Node) -> dict[str, str]:
        """Return the settings of a service that connects to a server of the cluster."""
        return {
            "POSTGRES_HOST": HOST,
            "POSTGRES_PORT": str(node.port),
            "POSTGRES_USERNAME": node.username,
            "POSTGRES_PASSWORD": "",
            "POSTGRES_DATABASE": _DATABASE,
            "SECRET_KEY": "the key for tests" * 3,
            "ANTIFRAUD_ADDRESS": "none",
        }

    def find_shard(self, table: str, key: str) -> int:
        """Return the number of the shard with the rows of a key."""
        [(shard,)] = self.coordinator.run(
            "SELECT get_shard_id_for_distribution_column(%s, %s::text)", values=(table, key)
        )
        return int(shard)

    def find_worker(self, table: str, key: str) -> Node:
        """Return the worker with the rows of a key."""
        [(port,)] = self.coordinator.run(
            "SELECT nodeport FROM citus_shards WHERE shardid = %s", values=(self.find_shard(table, key),)
        )
        return next(worker for worker in self.workers if worker.port == port)

    def move_shard(self, table: str, key: str, mode: str) -> None:
        """Move the shard with the rows of a key, and those of its group, to the other worker."""
        source = self.find_worker(table, key)
        [target] = [worker for worker in self.workers if worker is not source]
        self.coordinator.run(
            "SELECT citus_move_shard_placement(%s, %s, %s, %s, %s, %s::text::citus.shard_transfer_mode)",
            values=(self.find_shard(table, key), HOST, source.port, HOST, target.port, mode),
        )

    def list_prepared(self, nodes: Sequence[Node] = ()) -> list[str]:
        """Return the names of the prepared transactions of some servers; by default of all that run."""
        return [row[0] for node in nodes or self.nodes if node.is_reached() for row in node.run(_PREPARED)]

    def restore(self) -> None:
        """Start the servers that do not run, and wait until all accept statements and no transaction is prepared."""
        for node in self.nodes:
            node.start()
        assert wait_until(lambda: all(node.is_reached() for node in self.nodes), 30)
