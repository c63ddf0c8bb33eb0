"""The check of one replica for the command `check`."""

import time
from dataclasses import replace
from typing import Any

from persistence.database.engine import Database
from persistence.database.revisions import find_revision
from persistence.database.server import find_flushed_position, find_replayed_position, find_system_id
from promo_api.config.settings import Settings
from promo_api.errors import ServiceUnavailable
from promo_api.failure_messages import describe_failure
from promo_api.replicas import LAG_MAX_S

_PAUSE_S = 0.1


def find_problem(settings: Settings, primary: Database, host: str, port: str) -> str | None:
    """Return why a replica is not used, after "The replica ..."; None: it is used. Waits LAG_MAX_S at most.

    Raises:
        ServiceUnavailable: the primary is unavailable.
    """
    with primary.autocommit() as connection:
        revision, system_id = find_revision(connection), find_system_id(connection)
        position = find_flushed_position(connection)
    database = Database(
        replace(settings, postgres_read_host=host, postgres_read_port=port, postgres_pool_size=1), of_replicas=True
    )
    try:
        with database.autocommit() as connection:
            if find_system_id(connection) != system_id:
                return "belongs to another primary. Check POSTGRES_READ_HOST."
            if not _waits_for(connection, position):
                return f"is more than {LAG_MAX_S:.0f} s behind the primary."
            current = find_revision(connection)
            return None if current == revision else f"has the schema {current}, and the primary has {revision}."
    except ServiceUnavailable as error:
        failure = describe_failure(error)
        for name in ("POSTGRES_HOST", "POSTGRES_PORT"):
            failure = failure.replace(name, name.replace("POSTGRES", "POSTGRES_READ"))
        return f"is unavailable: {failure}"
    finally:
        database.close()


def _waits_for(connection: Any, position: int) -> bool:
    """Wait until the replica has replayed a position; False: it takes too long."""
    ends_at_s = time.monotonic() + LAG_MAX_S
    while (find_replayed_position(connection) or 0) < position:
        if time.monotonic() > ends_at_s:
            return False
        time.sleep(_PAUSE_S)
    return True
