"""The servers of a Citus cluster: which there are, and what is wrong with them."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

from persistence.database.statements import Statement


@dataclass(frozen=True)
class Node:
    """A server of the cluster."""

    host: str
    port: int
    is_active: bool
    has_shards: bool  # or may get some

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


_HAS_CITUS = Statement(text("SELECT count(*) FROM pg_extension WHERE extname = 'citus'"))
_IS_COORDINATOR = Statement(text("SELECT groupid = 0 FROM pg_dist_local_group"))
_NODES = Statement(
    text(
        "SELECT nodename, nodeport, isactive, shouldhaveshards FROM pg_dist_node"
        " WHERE noderole = 'primary' ORDER BY 1, 2"
    )
)
# NULL: the server is unknown to one that asked.
_CONNECTIONS = Statement(
    text(
        "SELECT from_nodename || ':' || from_nodeport, to_nodename || ':' || to_nodeport"
        " FROM citus_check_cluster_node_health() WHERE result IS NOT TRUE ORDER BY 1, 2"
    )
)
_DISTRIBUTED = Statement(text("SELECT logicalrelid::regclass::text, colocationid FROM pg_dist_partition ORDER BY 1"))
# Reads no row: a shard that is lost, or whose server is down, reports an error.
_LOST = Statement(
    text(
        "SELECT nodename || ':' || nodeport, count(*) FROM run_command_on_placements("
        r"CAST(:table AS regclass), 'SELECT count(*) FROM (SELECT FROM %s LIMIT 0) AS rows') WHERE NOT success"
        " GROUP BY 1 ORDER BY 1"
    )
)
_ALTER_DATABASE = Statement(
    text(
        "SELECT format('ALTER DATABASE %I SET %I = %L', current_database(), CAST(:name AS text), CAST(:value AS text))"
    )
)


def set_on_servers(connection: Connection, name: str, value: str) -> None:
    """Set a setting of the database for all new sessions on all servers."""
    command = _ALTER_DATABASE.value(connection, {"name": name, "value": value})
    Statement(text(command)).count(connection, {})


def has_citus(connection: Connection) -> bool:
    """Return whether the database has the extension citus."""
    return bool(_HAS_CITUS.value(connection, {}))


def is_coordinator(connection: Connection) -> bool:
    """Return whether this server of a cluster is the coordinator."""
    return bool(_IS_COORDINATOR.value(connection, {}))


def find_nodes(connection: Connection) -> list[Node]:
    """Return the servers of the cluster; empty: the database has no Citus, or no server was added."""
    return [Node(*row) for row in _NODES.rows(connection, {})] if has_citus(connection) else []


def find_colocations(connection: Connection) -> dict[str, int]:
    """Return the number of the colocation group of each distributed table, by name."""
    return dict(_DISTRIBUTED.rows(connection, {}))


def find_node_problems(connection: Connection) -> list[str]:
    """Return the problems of the servers and their shards, in sentences."""
    inactive = [f"The server {node} is not active." for node in find_nodes(connection) if not node.is_active]
    unreachable = [f"{start} cannot connect to {end}." for start, end in _CONNECTIONS.rows(connection, {})]
    return [*inactive, *unreachable, *_find_lost_shards(connection)]


def _find_lost_shards(connection: Connection) -> Iterator[str]:
    for table in find_colocations(connection):
        for node, number in _LOST.rows(connection, {"table": table}):
            yield f"Shards of {table} that {node} does not serve: {number}."
