"""A fake of the service, which starts quickly and returns its environment.

It has the commands of the service. `migrate` adds a row to the table `starts`. `serve` responds to every request with
its environment and the number of rows. EXIT=serve:3 makes `serve` exit at once with status 3.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import psycopg


def run_sql(statement: str) -> Any:
    """Run a statement in the database of the environment; return its first row, if any."""
    names = {"host": "HOST", "port": "PORT", "user": "USERNAME", "dbname": "DATABASE"}
    parameters = {parameter: os.environ[f"POSTGRES_{name}"] for parameter, name in names.items()}
    with psycopg.connect(**parameters) as connection:  # type: ignore[arg-type]
        cursor = connection.execute(statement)
        return cursor.fetchone() if cursor.description else None


class Handler(BaseHTTPRequestHandler):
    """Responds to every GET."""

    def do_GET(self) -> None:
        """Return the environment and the number of migrations."""
        starts = run_sql("SELECT count(*) FROM starts")[0]
        body = json.dumps({"environment": dict(os.environ), "starts": starts}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def main(command: str) -> int:
    """Run a command and return its exit status."""
    exiting, _, status = os.environ.get("EXIT", "").partition(":")
    if command == exiting:
        return int(status)
    if command == "migrate":
        run_sql("CREATE TABLE IF NOT EXISTS starts (at timestamptz)")
        run_sql("INSERT INTO starts VALUES (now())")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host, _, port = os.environ["SERVER_ADDRESS"].rpartition(":")
    HTTPServer((host, int(port)), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
