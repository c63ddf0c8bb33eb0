"""What the contract layer costs: python -m tests.bench.contract_layer.

Beside a plain Flask view, which checks nothing, and Connexion as it comes, in turn in one run: on a machine that does
other things too, only what was measured at the same time can be compared.
"""

import asyncio
import gc
import json
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import uvloop
from starlette.types import ASGIApp, Message

from tests.bench import applications
from tests.bench.applications import ANSWER, AUTHORIZATION, TARGET
from tests.bench.load import CONNECTIONS, WRK, Request, get, requests_per_s, served

ADDED_MAX_MS = 0.35
RATIO_MIN = 1.8

_ROUNDS = 5
_ROUND_S = 3
_CALL_ROUNDS = 31
_CALLS = 300
_REQUEST = Request("GET", TARGET, AUTHORIZATION)


@dataclass
class Served:
    """One way to serve the operation, and what was measured of it.

    Attributes:
        name: for people.
        application: what makes it, in `applications`.
        worker: gunicorn's worker class.
        requests_per_s: of each round, over the network.
        wall_ms: of each round, what a request takes without the network.
        cpu_ms: of each round, what a request takes of the processor without the network.
    """

    name: str
    application: str
    worker: str
    requests_per_s: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


_OUR_WORKER = "promo_api.server.gunicorn_app.Worker"
PLAIN = Served("plain Flask view", "plain", _OUR_WORKER)
STOCK = Served("stock FlaskApp", "stock", "uvicorn_worker.UvicornWorker")
LAYER = Served("our layer", "layer", _OUR_WORKER)
ALL = (PLAIN, STOCK, LAYER)


def measure_servers() -> None:
    """Measure each as a server of its own, in turn."""
    with ExitStack() as servers:
        ports = {
            each.name: servers.enter_context(served(f"{applications.__name__}:{each.application}()", each.worker))
            for each in ALL
        }
        for port in ports.values():
            if json.loads(get(port, TARGET, AUTHORIZATION)) != ANSWER:
                raise RuntimeError("The servers do not answer the same.")
            requests_per_s(port, [_REQUEST], 1)
        for _ in range(_ROUNDS):
            for each in ALL:
                each.requests_per_s.append(requests_per_s(ports[each.name], [_REQUEST], _ROUND_S))


async def measure_calls() -> None:
    """Measure each in this process, without a network, in turn."""
    built: list[tuple[Served, ASGIApp]] = [(each, getattr(applications, each.application)()) for each in ALL]
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
            raise RuntimeError(f"The application answered {status}.")


def _scope() -> dict[str, Any]:
    """Return a request as uvicorn hands it over."""
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
    """Return what was found, as lines for people."""
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
        f"Our layer against stock: {ratio:.2f} times as many requests/s.",
        f"Wanted: at least {RATIO_MIN} times: {_met(ratio >= RATIO_MIN)}.",
        f"Our layer on top of a plain Flask view: {wall_ms:+.3f} ms a request, {cpu_ms:+.3f} ms of CPU.",
        f"Wanted: at most {ADDED_MAX_MS} ms: {_met(wall_ms <= ADDED_MAX_MS)}.",
    ]


def _met(met: bool) -> str:
    return "met" if met else "NOT MET"


def main() -> None:
    """Measure, and tell."""
    load = "our own client" if WRK is None else "wrk"
    _tell(f"One worker each; {_ROUNDS} rounds of {_ROUND_S} s in turn, with {load} and {CONNECTIONS} connections;")
    _tell(f"then {_CALL_ROUNDS} rounds of {_CALLS} calls in turn, without a network. Medians of the rounds.\n")
    measure_servers()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure_calls())
    for line in report():
        _tell(line)


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
