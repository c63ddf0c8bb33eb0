"""What these tests give `dev` in place of the service: as quick as possible, and it tells what it was started with.

The commands are those of the service. `migrate` adds a row to the table `starts`; `serve` answers every request with
its environment and the number of rows. ENDS, as in ENDS=serve:3, makes a command end at once with that status.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import psycopg


def run_sql(statement: str) -> Any:
    """Run a statement in the database of the environment and return the first row, if it has rows."""
    place = {"host": "HOST", "port": "PORT", "user": "USERNAME", "dbname": "DATABASE"}
    parameters = {parameter: os.environ[f"POSTGRES_{name}"] for parameter, name in place.items()}
    with psycopg.connect(**parameters) as connection:  # type: ignore[arg-type]
        cursor = connection.execute(statement)
        return cursor.fetchone() if cursor.description else None


class Handler(BaseHTTPRequestHandler):
    """Answers every GET."""

    def do_GET(self) -> None:
        """Tell the environment and the number of migrations."""
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
    ends, _, status = os.environ.get("ENDS", "").partition(":")
    if command == ends:
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
