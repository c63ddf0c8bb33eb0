"""Servers of their own process, and as many requests as they can answer.

With wrk if it is on the PATH, else with a client of our own, which takes more of the machine away from the server.
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
    """A request; its body is JSON in ASCII, and empty if it has none."""

    method: str
    target: str
    header: Header
    body: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """All headers that tell of the request, and not of the connection."""
        return dict([self.header]) | ({"Content-Type": "application/json"} if self.body else {})


@contextmanager
def served(application: str, worker: str) -> Iterator[int]:
    """Serve an application with one gunicorn worker, and return the port, on this machine alone.

    Args:
        application: as gunicorn names it.
        worker: the class of the worker.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # Inherited by the server, as systemd does it: a port that is only free could be taken meanwhile.
        port: int = listening.getsockname()[1]
        environment = {name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"}
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listening.fileno()}", "--worker-class", worker]
        command += ["--no-control-socket", "--log-level", "warning", application]
        server = subprocess.Popen(command, cwd=_ROOT, env=environment, pass_fds=[listening.fileno()])
    try:
        yield port
    finally:
        server.terminate()
        server.wait(_START_MAX_S)


def get(port: int, target: str, header: Header) -> bytes:
    """Return the answer to one request; RuntimeError if it is not a 200."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_START_MAX_S)
    try:
        connection.request("GET", target, headers=dict([header]))
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"The server answered {answer.status}.")
        return answer.read()
    finally:
        connection.close()


def requests_per_s(port: int, requests: Sequence[Request], duration_s: int, connections: int = CONNECTIONS) -> float:
    """Return how many requests a second a server answers, when asked over some connections at once.

    Args:
        port: where it listens, on this machine.
        requests: what is asked, in turn; each must succeed.
        duration_s: for how long.
        connections: how many ask at once.
    """
    if WRK is None:
        return asyncio.run(_loaded(port, requests, duration_s, connections))
    with NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_script(requests))
        script.flush()
        command = [WRK, "-t1", f"-c{connections}", f"-d{duration_s}s", "--timeout", "20s", "-s", script.name]
        command.append(f"http://127.0.0.1:{port}")
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"Requests/sec:\s*([0-9.]+)", told)
    if found is None or "Non-2xx" in told or "Socket errors" in told:
        raise RuntimeError(f"The load went wrong:\n{told}")
    return float(found[1])


def _script(requests: Sequence[Request]) -> str:
    """Return what has wrk send the requests in turn: all of them made before, and each of them sent as it is."""
    made = ",".join(map(_formatted, requests))
    return (
        f"local made, n = nil, 0\nfunction init() made = {{{made}}} end\n"
        "function request() n = n + 1; return made[n % #made + 1] end\n"
    )


def _formatted(request: Request) -> str:
    # What JSON writes for a string in ASCII, Lua reads as the same.
    headers = ",".join(f"[{json.dumps(name)}]={json.dumps(value)}" for name, value in request.headers.items())
    body = json.dumps(request.body) if request.body else "nil"
    return f'wrk.format("{request.method}", "{request.target}", {{{headers}}}, {body})'


async def _loaded(port: int, requests: Sequence[Request], duration_s: int, connections: int) -> float:
    raw = cycle(_raw(port, request) for request in requests)
    started = time.perf_counter()
    answered = await asyncio.gather(*(_ask(port, raw, started + duration_s) for _ in range(connections)))
    return sum(answered) / (time.perf_counter() - started)


def _raw(port: int, request: Request) -> bytes:
    headers = request.headers | {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(request.body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{request.method} {request.target} HTTP/1.1\r\n{lines}\r\n{request.body}".encode()


async def _ask(port: int, requests: Iterator[bytes], until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = 0
    while time.perf_counter() < until:
        writer.write(next(requests))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", head)
        if length is None or not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"The load went wrong: {head!r}")
        await reader.readexactly(int(length[1]))
        answered += 1
    writer.close()
    await writer.wait_closed()
    return answered
