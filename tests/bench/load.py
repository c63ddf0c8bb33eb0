"""Load generation: as many requests as a server can handle.

Uses wrk if it is on the PATH, else a built-in client, which takes more CPU time away from the server.
"""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

CONNECTIONS = 16
WRK = shutil.which("wrk")

_ROOT = Path(__file__).parent.parent.parent
_START_MAX_S = 30

Header = tuple[str, str]


class Request(NamedTuple):
    """A request. The body is JSON in ASCII, or empty."""

    method: str
    target: str
    header: Header
    body: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request, without those of the connection."""
        return dict([self.header]) | ({"Content-Type": "application/json"} if self.body else {})


@contextmanager
def served(application: str, worker: str) -> Iterator[int]:
    """Serve an application with one gunicorn worker on a port of localhost, and return the port.

    Args:
        application: in the notation of gunicorn.
        worker: the worker class.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # The server inherits the socket: another program could take a port that is only free.
        port: int = listener.getsockname()[1]
        environment = {name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"}
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}", "--worker-class", worker]
        command += ["--no-control-socket", "--log-level", "warning", application]
        server = subprocess.Popen(command, cwd=_ROOT, env=environment, pass_fds=[listener.fileno()])
    try:
        yield port
    finally:
        server.terminate()
        server.wait(_START_MAX_S)


def get(port: int, target: str, header: Header) -> bytes:
    """Return the body of the response to one request; raise RuntimeError if its status is not 200."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_START_MAX_S)
    try:
        connection.request("GET", target, headers=dict([header]))
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"The server responded with status {response.status}.")
        return response.read()
    finally:
        connection.close()


def requests_per_s(port: int, requests: Sequence[Request], duration_s: int, connections: int = CONNECTIONS) -> float:
    """Return how many requests a second a server handles.

    Args:
        port: of the server, on localhost.
        requests: sent in turn. Each must succeed.
        duration_s: of the load.
        connections: how many are used concurrently.
    """
    if WRK is None:
        return asyncio.run(_generate_load(port, requests, duration_s, connections))
    with NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_script(requests))
        script.flush()
        command = [WRK, "-t1", f"-c{connections}", f"-d{duration_s}s", "--timeout", "20s", "-s", script.name]
        command.append(f"http://127.0.0.1:{port}")
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s*([0-9.]+)", output)
    if rate is None or "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"Some requests failed:\n{output}")
    return float(rate[1])


def _script(requests: Sequence[Request]) -> str:
    """Return a script for wrk that formats the requests once and sends them in turn."""
    formatted = ",".join(map(_formatted, requests))
    return (
        f"local requests, n = nil, 0\nfunction init() requests = {{{formatted}}} end\n"
        "function request() n = n + 1; return requests[n % #requests + 1] end\n"
    )


def _formatted(request: Request) -> str:
    # A JSON string in ASCII is also a Lua string.
    headers = ",".join(f"[{json.dumps(name)}]={json.dumps(value)}" for name, value in request.headers.items())
    body = json.dumps(request.body) if request.body else "nil"
    return f'wrk.format("{request.method}", "{request.target}", {{{headers}}}, {body})'


async def _generate_load(port: int, requests: Sequence[Request], duration_s: int, connections: int) -> float:
    raw = cycle(_raw(port, request) for request in requests)
    started = time.perf_counter()
    counts = await asyncio.gather(*(_send_requests(port, raw, started + duration_s) for _ in range(connections)))
    return sum(counts) / (time.perf_counter() - started)


def _raw(port: int, request: Request) -> bytes:
    headers = request.headers | {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(request.body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{request.method} {request.target} HTTP/1.1\r\n{lines}\r\n{request.body}".encode()


async def _send_requests(port: int, requests: Iterator[bytes], until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while time.perf_counter() < until:
        writer.write(next(requests))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", head)
        if length is None or not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"A request failed: {head!r}")
        await reader.readexactly(int(length[1]))
        count += 1
    writer.close()
    await writer.wait_closed()
    return count
