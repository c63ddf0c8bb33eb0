"""The query plans of the statements in persistence."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import psycopg
from sqlalchemy import Connection

from tests.statements import sent_statements


def scans_of(connection: Connection, run: Callable[[], Any], number: int = -1) -> set[tuple[str, str]]:
    """Return the tables that a statement reads, each with its index, or "" for a sequential scan.

    The statement is one that the function `run` sends; by default the last.
    """
    return set(tables_read(plan_of(connection, run, number)))


def plan_of(
    connection: Connection, run: Callable[[], Any], number: int = -1, *, analyze: bool = False
) -> dict[str, Any]:
    """Return the generic plan of a statement that a function sends; `analyze` adds what it read."""
    options = "ANALYZE, FORMAT JSON" if analyze else "FORMAT JSON"
    with sent_statements() as sent:
        run()
    statement, parameters = sent[number]
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    values = f"({', '.join(['%s'] * len(parameters))})" if parameters else ""
    with psycopg.ClientCursor(driver) as cursor:
        cursor.execute(f"PREPARE explained AS {statement}".encode())
        cursor.execute(f"EXPLAIN ({options}) EXECUTE explained {values}".encode(), parameters or None)
        [(explained,)] = cursor.fetchall()
        cursor.execute("DEALLOCATE explained")
    plan: dict[str, Any] = explained[0]["Plan"]
    return plan


def nodes_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a plan, and all nodes below it."""
    yield node
    for part in node.get("Plans", ()):
        yield from nodes_of(part)


def tables_read(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the tables that a plan reads, each with its index, or "" for a sequential scan."""
    for node in nodes_of(plan):
        if node["Node Type"] == "Bitmap Index Scan":
            yield "bitmap", node["Index Name"]
        elif node["Node Type"] == "Tid Scan":
            yield node["Relation Name"], "ctid"
        elif "Relation Name" in node and node["Node Type"] not in ("Bitmap Heap Scan", "ModifyTable"):
            yield node["Relation Name"], node.get("Index Name", "")
