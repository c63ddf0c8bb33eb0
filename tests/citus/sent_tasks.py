"""Records what a coordinator sends to its shards."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import event, text

from persistence.database.engine import Database
from tests.statements import sent_statements

_LOG_COMMANDS = b"SET client_min_messages = log; SET citus.log_remote_commands = on; SET citus.log_local_commands = on"
_COMMAND = re.compile(r"(?:issuing|executing the command locally:) (?P<command>.*)", re.DOTALL)
# Transactions, savepoints, settings and the plans of several servers' transactions concern no shard.
_CONTROL = re.compile(
    r"(BEGIN|START|COMMIT|ROLLBACK|PREPARE TRANSACTION|SAVEPOINT|RELEASE|SET|SELECT assign_dist)", re.IGNORECASE
)

# The number of a shard, and its group: tables with the same key have their shards together.
_SHARDS = text(
    "SELECT shardid, min(logicalrelid::text) OVER (PARTITION BY colocationid), coalesce(shardminvalue, '')"
    " FROM pg_dist_shard JOIN pg_dist_partition USING (logicalrelid) WHERE partmethod = 'h' OR repmodel = 's'"
)
_NUMBER = re.compile(r"_([0-9]{6,})\b")


class Tasks(NamedTuple):
    """A statement of the service, and the shards that it asked, by their group of tables."""

    statement: str
    shards: dict[str, set[str]]
    commands: list[str]


@contextmanager
def sent_tasks(database: Database) -> Iterator[Callable[[], list[Tasks]]]:
    """Watch the connections of a database, which has none yet.

    Yields:
        A function that returns the statements that were sent to shards since it was called last.
    """
    with sent_statements() as sent:
        commands: list[tuple[int, str]] = []

        def record(notice: psycopg.errors.Diagnostic) -> None:
            found = _COMMAND.match(notice.message_primary or "")
            if found and not _CONTROL.match(found["command"]) and not current_thread().name.startswith("job-"):
                commands.append((len(sent) - 1, found["command"]))

        def watch(connection: "psycopg.Connection[Any]", _record: object) -> None:
            connection.execute(_LOG_COMMANDS)
            connection.add_notice_handler(record)

        def take() -> list[Tasks]:
            tasks = [
                _tasks(groups, statement, [command for at, command in commands if at == number])
                for number, (statement, _) in enumerate(sent)
            ]
            sent.clear()
            commands.clear()
            # A statement without commands concerns tables that this server has too.
            return [task for task in tasks if task.commands]

        event.listen(database.engine, "connect", watch)
        with database.autocommit() as connection:
            groups = {number: (group, key) for number, group, key in connection.execute(_SHARDS)}
        yield take


def _tasks(groups: dict[int, tuple[str, str]], statement: str, commands: list[str]) -> Tasks:
    shards: dict[str, set[str]] = {}
    for number in {int(found) for command in commands for found in _NUMBER.findall(command)}:
        if number in groups:
            group, key = groups[number]
            shards.setdefault(group, set()).add(key)
    return Tasks(statement, shards, commands)
