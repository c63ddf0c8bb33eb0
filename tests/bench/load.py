"""Servers of their own process, and as many requests as they can answer.

With wrk if it is on the PATH, else with a client of our own, which takes more of the machine away from the server.
"""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

CONNECTIONS = 16
WRK = shutil.which("wrk")

_ROOT = Path(__file__).parent.parent.parent
_START_MAX_S = 30

Header = tuple[str, str]


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


def requests_per_s(port: int, target: str, header: Header, duration_s: int) -> float:
    """Return how many requests a second a server answers, when asked over 16 connections at once."""
    if WRK is None:
        return asyncio.run(_loaded(port, target, header, duration_s))
    command = [WRK, "-t1", f"-c{CONNECTIONS}", f"-d{duration_s}s", "-H", ": ".join(header)]
    told = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{target}"], check=True, capture_output=True, text=True
    ).stdout
    found = re.search(r"Requests/sec:\s*([0-9.]+)", told)
    if found is None or "Non-2xx" in told or "Socket errors" in told:
        raise RuntimeError(f"The load went wrong:\n{told}")
    return float(found[1])


async def _loaded(port: int, target: str, header: Header, duration_s: int) -> float:
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{': '.join(header)}\r\n\r\n".encode()
    started = time.perf_counter()
    answered = await asyncio.gather(*(_ask(port, request, started + duration_s) for _ in range(CONNECTIONS)))
    return sum(answered) / (time.perf_counter() - started)


async def _ask(port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = 0
    while time.perf_counter() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", head)
        if length is None or not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"The load went wrong: {head!r}")
        await reader.readexactly(int(length[1]))
        answered += 1
    writer.close()
    await writer.wait_closed()
    return answered
