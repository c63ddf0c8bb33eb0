"""The command `distribute`: put the tables on the servers of a Citus cluster.

An interrupted command can be run again: it continues where it ended. Later runs distribute what migrations have added.
"""

import sys
from collections.abc import Iterator

from persistence.database.engine import Database
from persistence.database.errors import MissingPrivilege, StatementRefused
from persistence.database.revisions import find_revision, newest_revision
from persistence.distribution import find_obstacle, update_distribution
from promo_api.config.settings import Settings
from promo_api.errors import ServiceUnavailable
from promo_api.failure_messages import describe_failure


class _Obstacle(Exception):
    """Why nothing was done, in sentences."""


def distribute(settings: Settings) -> int:
    """Distribute the tables, and print what each step did. Return the exit status."""
    database = Database(settings)
    try:
        for sentence in _steps(database, settings):
            print(sentence, flush=True)
    except _Obstacle as error:
        print(f"Nothing was changed. {error}", file=sys.stderr)
    except (ServiceUnavailable, MissingPrivilege) as error:
        print(f"The command failed, and can be run again: {describe_failure(error)}", file=sys.stderr)
    except StatementRefused as error:
        print(f"PostgreSQL refuses a statement: {error}. See its log.", file=sys.stderr)
    except KeyboardInterrupt:
        print("The command was interrupted, and can be run again.", file=sys.stderr)
    else:
        print("All tables are distributed. Start the service.")
        return 0
    finally:
        database.close()
    return 1


def _steps(database: Database, settings: Settings) -> Iterator[str]:
    with database.unlimited() as connection:
        current, needed = find_revision(connection), newest_revision()
        if current != needed:
            raise _Obstacle(f"The schema is at {current}, not at {needed}. Run python -m promo_api migrate.")
        obstacle = find_obstacle(connection)
        if obstacle:
            raise _Obstacle(obstacle)
        yield from update_distribution(connection, settings.postgres_lock_timeout_s)
