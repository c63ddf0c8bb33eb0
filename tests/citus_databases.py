"""Databases on a Citus cluster that the environment names, and the tests that are skipped there.

`python -m tests.citus_databases` checks the cluster, and fails with a message if it does not suffice.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from persistence.database.cluster import find_nodes
from persistence.database.engine import Database
from persistence.distribution import update_distribution
from persistence.migrations import update_schema

_MIN_WORKERS = 2
_TIMEOUT_S = 5
# Each shard of a table is a table: with many shards, a statement about all of them takes long.
SHARDS = 4
# Whether the tests use the cluster.
ON_CITUS = bool(os.environ.get("TEST_ON_CITUS"))
_PAGES = (
    "test_export",
    "test_feed",
    "test_promo_history_and_likes",
    "test_comments",
    "test_promos_of_a_company",
    "test_code_lists",
)
_VERSION_BEFORE = (
    "test_account_events.py::test_entries_stay[account_events-",
    "test_account_events.py::test_events_of_the_version_before",
    "test_account_events.py::test_role_with_select_and_insert_only",
    "test_deletion_portions.py::test_account_with_many_events",
)
# Tests that cannot run on a cluster: a part of the node ID, and the reason to skip the test.
LEFT_OUT = {
    **dict.fromkeys(
        (
            "persistence/test_plans.py",
            "persistence/test_filter_plans.py",
            "webhooks/test_delivery_plans.py",
        ),
        "the plans of one server",
    ),
    **dict.fromkeys(
        (f"test_statement_counts.py::{name}" for name in _PAGES),
        "on several servers a page takes another statement",
    ),
    **dict.fromkeys(
        _VERSION_BEFORE,
        "distributed tables have no events of the version before",
    ),
    **dict.fromkeys(
        (
            "test_deletion_during_a_change_of_a_row[user_uses]",
            "test_portion_blocks_no_request[user_uses]",
            "test_late_write_to_a_locked_row[user_uses]",
        ),
        "several servers do not store the number of uses of a user",
    ),
    "SET event = event WHERE false]": "it asks no shard, so no trigger refuses it",
    "test_promo_older_than_the_audit_log": "the test cannot disable the trigger of the audit log in a shard",
    "test_company_counts.py::test_concurrent_creations_and_changes": "no snapshot spans several servers",
    "test_distribute.py::test_database_without_citus": "the database has Citus",
    "test_sessions.py::test_session_with_citus": "it imitates Citus on one server",
    "integration/replicas/": "starts a primary and a standby",
    "integration/dev/": "starts servers without the tables",
}
_FIND_WORKERS = "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 AND noderole = 'primary' ORDER BY 1, 2"
_NEEDED = (
    "make test-citus needs a Citus cluster, with its coordinator at CITUS_HOST and CITUS_PORT. The two or more workers"
    " are those of its database postgres, or named by CITUS_WORKERS=HOST:PORT,HOST:PORT."
)


class ClusterMissingError(Exception):
    """The environment names no cluster, or one that does not suffice; the message is for the user."""


class Node(NamedTuple):
    """The address of a server of the cluster."""

    host: str
    port: int


def cluster_variables() -> dict[str, str]:
    """Return the environment variables of a service that uses the coordinator."""
    if not os.environ.get("CITUS_HOST"):
        raise ClusterMissingError("CITUS_HOST is not set.")
    names = {"HOST": "", "PORT": "5432", "USERNAME": "postgres", "PASSWORD": ""}
    return {f"POSTGRES_{name}": os.environ.get(f"CITUS_{name}", default) for name, default in names.items()}


def check_cluster() -> None:
    """Raise ClusterMissingError if there is no cluster to run the tests on."""
    try:
        nodes = _find_nodes()
        for node in nodes:
            with closing(_connect(node)) as connection:
                query = "SELECT count(*) FROM pg_available_extensions WHERE name = 'citus'"
                if connection.execute(query).fetchone() != (1,):
                    raise ClusterMissingError(f"The server {node.host}:{node.port} has no Citus.")
    except psycopg.OperationalError as error:
        raise ClusterMissingError(
            f"A server of the cluster cannot be used: {str(error).partition(chr(10))[0]}."
        ) from error
    if len(nodes) <= _MIN_WORKERS:
        raise ClusterMissingError(f"The cluster has fewer than {_MIN_WORKERS} workers.")


@contextmanager
def cluster_database(name: str) -> Iterator[None]:
    """Create a database on each server of the cluster, with Citus, and drop it after the block."""
    nodes = _find_nodes()
    with ExitStack() as stack:
        for node in nodes:
            _run(node, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            stack.callback(_run, node, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            with closing(_connect(node, name)) as connection:
                connection.execute("CREATE EXTENSION citus")
        coordinator, *workers = nodes
        _run(coordinator, sql.SQL("ALTER DATABASE {} SET citus.shard_count = {}").format(sql.Identifier(name), SHARDS))
        with closing(_connect(coordinator)) as lock, closing(_connect(coordinator, name)) as connection:
            # Citus writes the roles of the coordinator to the workers, which two pytest processes must not do at once.
            lock.execute("SELECT pg_advisory_lock(1)")
            connection.execute("SELECT citus_set_coordinator_host(%s, %s)", coordinator)
            for worker in workers:
                connection.execute("SELECT citus_add_node(%s, %s)", worker)
        yield


def migrate(database: Database) -> None:
    """Update the schema of a database, and distribute it if it is on a cluster."""
    update_schema(database.engine)
    with database.autocommit() as connection:
        if find_nodes(connection):
            for _ in update_distribution(connection, lock_timeout_s=3):
                pass
            # Its session has other settings now.
            connection.invalidate()


def _find_nodes() -> list[Node]:
    """Return the coordinator and the workers."""
    variables = cluster_variables()
    coordinator = Node(variables["POSTGRES_HOST"], int(variables["POSTGRES_PORT"]))
    named = os.environ.get("CITUS_WORKERS", "")
    workers = [Node(host, int(port)) for host, _, port in (part.rpartition(":") for part in named.split(",") if part)]
    with closing(_connect(coordinator)) as connection:
        if not workers and connection.execute("SELECT FROM pg_extension WHERE extname = 'citus'").fetchone():
            query = (
                "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 AND noderole = 'primary' ORDER BY 1, 2"
            )
            workers = [Node(*row) for row in connection.execute(query)]
    return [coordinator, *workers]


def _run(node: Node, statement: sql.Composed) -> None:
    with closing(_connect(node)) as connection:
        # Otherwise the coordinator would create and drop databases on the workers as well.
        connection.execute("SET citus.enable_create_database_propagation = off")
        connection.execute(statement)


def _connect(node: Node, database: str = "postgres") -> "psycopg.Connection[Any]":
    variables: Mapping[str, str] = cluster_variables()
    return psycopg.connect(
        host=node.host,
        port=node.port,
        user=variables["POSTGRES_USERNAME"],
        password=variables["POSTGRES_PASSWORD"] or None,
        dbname=database,
        autocommit=True,
        connect_timeout=_TIMEOUT_S,
    )


def _main() -> None:
    try:
        check_cluster()
    except ClusterMissingError as error:
        sys.exit(f"{error} {_NEEDED}")


if __name__ == "__main__":
    _main()
