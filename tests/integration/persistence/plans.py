"""The plans that PostgreSQL makes for the statements of functions of persistence."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import psycopg
from sqlalchemy import Connection

from tests.statements import sent_statements


def scans_of(connection: Connection, run: Callable[[], Any], number: int = -1) -> set[tuple[str, str]]:
    """Return the tables that a statement of a function of persistence reads, with the index ("": the whole table)."""
    with sent_statements() as sent:
        run()
    statement, parameters = sent[number]
    if isinstance(parameters, Mapping):
        explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    else:
        driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        with psycopg.RawCursor(driver) as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), parameters)
            [(explained,)] = cursor.fetchall()
    return set(tables_read(explained[0]["Plan"]))


def plan_of(connection: Connection, run: Callable[[], Any], mode: str, number: int = -1) -> dict[str, Any]:
    """Return the plan of a statement of a function of persistence, prepared, in a mode of plan_cache_mode."""
    with sent_statements() as sent:
        run()
    statement, parameters = sent[number]
    connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {mode}")
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    places = ", ".join(["%s"] * len(parameters))
    with psycopg.ClientCursor(driver) as cursor:
        cursor.execute(f"PREPARE asked AS {statement}".encode())
        cursor.execute(f"EXPLAIN (FORMAT JSON) EXECUTE asked ({places})".encode(), parameters)
        [(explained,)] = cursor.fetchall()
        cursor.execute("DEALLOCATE asked")
    plan: dict[str, Any] = explained[0]["Plan"]
    return plan


def nodes_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a plan, and all nodes below it."""
    yield node
    for part in node.get("Plans", ()):
        yield from nodes_of(part)


def tables_read(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the tables that a plan reads, each with its index ("": the whole table)."""
    for node in nodes_of(plan):
        if node["Node Type"] == "Bitmap Index Scan":
            yield "bitmap", node["Index Name"]
        elif node["Node Type"] == "Tid Scan":
            yield node["Relation Name"], "ctid"
        elif "Relation Name" in node and node["Node Type"] not in ("Bitmap Heap Scan", "ModifyTable"):
            yield node["Relation Name"], node.get("Index Name", "")
