"""The cost of the contract layer: python -m tests.bench.contract_layer.

Compares it with a plain Flask view, which validates nothing, and with stock Connexion. They are measured in turn,
because other programs on the machine would distort a comparison of separate runs.
"""

import asyncio
import gc
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import uvloop
from starlette.types import ASGIApp, Message

from tests.bench import applications
from tests.bench.applications import AUTHORIZATION, RESPONSE, TARGET
from tests.bench.load import CONNECTIONS, WRK, Request, get, requests_per_s, served
from tests.bench.options import parse_rounds
from tests.bench.output import write_line

ADDED_MAX_MS = 0.35
RATIO_MIN = 1.8

_ROUNDS = 5
_ROUND_S = 3
_CALL_ROUNDS = 31
_CALLS = 300
_REQUEST = Request("GET", TARGET, AUTHORIZATION)


@dataclass
class Measured:
    """An application, and its measurements.

    Attributes:
        name: in the table.
        application: the name of its factory in `applications`.
        worker: gunicorn's worker class.
        requests_per_s: over the network, for each round.
        wall_ms: of a request without the network, for each round.
        cpu_ms: CPU time of a request without the network, for each round.
    """

    name: str
    application: str
    worker: str
    requests_per_s: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


_OUR_WORKER = "tests.bench.worker.BenchWorker"
PLAIN = Measured("plain Flask view", "plain", _OUR_WORKER)
STOCK = Measured("stock FlaskApp", "stock", "uvicorn_worker.UvicornWorker")
LAYER = Measured("our layer", "layer", _OUR_WORKER)
ALL = (PLAIN, STOCK, LAYER)


def measure_servers(rounds: int, round_s: int) -> None:
    """Measure all applications over the network, in turn."""
    with ExitStack() as servers:
        ports = {
            each.name: servers.enter_context(served(f"{applications.__name__}:{each.application}()", each.worker))
            for each in ALL
        }
        for port in ports.values():
            if json.loads(get(port, TARGET, AUTHORIZATION)) != RESPONSE:
                raise RuntimeError("The servers do not return the same response.")
            requests_per_s(port, [_REQUEST], 1)
        for _ in range(rounds):
            for each in ALL:
                each.requests_per_s.append(requests_per_s(ports[each.name], [_REQUEST], round_s))


async def measure_calls() -> None:
    """Measure all applications in this process, without the network, in turn."""
    built: list[tuple[Measured, ASGIApp]] = [(each, getattr(applications, each.application)()) for each in ALL]
    for _, app in built:
        await _call(app, _CALLS)
    for _ in range(_CALL_ROUNDS):
        for each, app in built:
            gc.collect()
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            await _call(app, _CALLS)
            each.wall_ms.append((time.perf_counter() - wall_s) * 1000 / _CALLS)
            each.cpu_ms.append((time.process_time() - cpu_s) * 1000 / _CALLS)


async def _call(app: ASGIApp, times: int) -> None:
    status = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    for _ in range(times):
        await app(_scope(), receive, send)
        if status != 200:
            raise RuntimeError(f"The application responded with status {status}.")


def _scope() -> dict[str, Any]:
    """Return the ASGI scope of the request."""
    path, _, query = TARGET.partition("?")
    headers = [("host", "127.0.0.1:8080"), AUTHORIZATION]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }


def report() -> list[str]:
    """Return the lines of the result."""
    ratio = median(ours / theirs for ours, theirs in zip(LAYER.requests_per_s, STOCK.requests_per_s, strict=True))
    wall_ms = median(ours - plain for ours, plain in zip(LAYER.wall_ms, PLAIN.wall_ms, strict=True))
    cpu_ms = median(ours - plain for ours, plain in zip(LAYER.cpu_ms, PLAIN.cpu_ms, strict=True))
    return [
        f"{'GET, bearer, path uuid, 2 query parameters':44}{'requests/s':>12}{'ms, no network':>16}{'ms of CPU':>12}",
        *(
            f"{each.name:44}{median(each.requests_per_s):12.0f}{median(each.wall_ms):16.3f}{median(each.cpu_ms):12.3f}"
            for each in ALL
        ),
        "",
        f"Requests/s of our layer to stock: {ratio:.2f}. Required: at least {RATIO_MIN}: {_met(ratio >= RATIO_MIN)}.",
        f"Our layer on top of a plain Flask view: {wall_ms:+.3f} ms a request, {cpu_ms:+.3f} ms of CPU time.",
        f"Required: at most {ADDED_MAX_MS} ms: {_met(wall_ms <= ADDED_MAX_MS)}.",
    ]


def _met(met: bool) -> str:
    return "met" if met else "NOT MET"


def main() -> None:
    """Measure, and print the result."""
    rounds, round_s = parse_rounds("tests.bench.contract_layer", "The cost of the contract layer.", _ROUNDS, _ROUND_S)
    load = "the built-in client" if WRK is None else "wrk"
    write_line(f"One worker each; {rounds} rounds of {round_s} s in turn, with {load} and {CONNECTIONS} connections;")
    write_line(f"then {_CALL_ROUNDS} rounds of {_CALLS} calls in turn, without the network. Medians of the rounds.\n")
    measure_servers(rounds, round_s)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure_calls())
    for line in report():
        write_line(line)


if __name__ == "__main__":
    main()
