"""Honest clients at a fixed small rate, in a separate process that measures how long each response takes."""

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import cycle
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.bench.client import Client, Endpoint
from tests.bench.overload_samples import RESPONSE_MAX_S, Sample

_NICENESS = -10


class Request(NamedTuple):
    """A request of an honest client, to a path below /api."""

    method: str
    path: str
    token: str = ""
    body: Mapping[str, Any] | None = None


class Stream(NamedTuple):
    """Requests at a fixed rate, sent whether or not earlier ones have their responses.

    Attributes:
        kind: of its samples.
        interval_s: between two requests.
        requests: sent in turn.
        is_fresh: whether each request opens a connection.
    """

    kind: str
    interval_s: float
    requests: tuple[Request, ...]
    is_fresh: bool = False


class HonestClients:
    """The process of the honest clients, for the time of a block; it runs streams from `start` to `stop`."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs,), daemon=True)

    def __enter__(self) -> Self:
        """Start the process."""
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()

    def start(self, endpoint: Endpoint, streams: tuple[Stream, ...]) -> None:
        """Start to send requests."""
        self._pipe.send((endpoint, streams))
        self._pipe.recv()

    def stop(self) -> list[Sample]:
        """Stop, wait for the last responses, and return all samples."""
        self._pipe.send(None)
        samples: list[Sample] = self._pipe.recv()
        return samples


def _run(pipe: Connection) -> None:
    # Real clients run on other machines, so the load of this machine must not delay these clients.
    with suppress(OSError):
        os.nice(_NICENESS)
    with suppress(EOFError):
        while True:
            endpoint, streams = pipe.recv()
            pipe.send(None)
            pipe.send(asyncio.run(_observe(pipe, endpoint, streams)))


async def _observe(pipe: Connection, endpoint: Endpoint, streams: tuple[Stream, ...]) -> list[Sample]:
    samples: list[Sample] = []
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_message() -> None:
        loop.remove_reader(pipe.fileno())
        stop.set()

    loop.add_reader(pipe.fileno(), on_message)
    await asyncio.gather(*(_send_stream(endpoint, stream, stop, samples) for stream in streams))
    pipe.recv()
    return samples


async def _send_stream(endpoint: Endpoint, stream: Stream, stop: asyncio.Event, samples: list[Sample]) -> None:
    idle: list[Client] = []
    next_s = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for request in cycle(stream.requests):
            tasks.create_task(_send_request(endpoint, stream, request, idle, samples))
            next_s = max(next_s + stream.interval_s, time.monotonic())
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), next_s - time.monotonic())
            if stop.is_set():
                break
    for client in idle:
        client.close()


async def _send_request(
    endpoint: Endpoint, stream: Stream, request: Request, idle: list[Client], samples: list[Sample]
) -> None:
    client = idle.pop() if idle else Client(endpoint)
    sent_s, status = time.monotonic(), 0
    with suppress(TimeoutError):
        response = client.request(request.method, request.path, request.body, token=request.token)
        status = (await asyncio.wait_for(response, RESPONSE_MAX_S)).status
    samples.append(Sample(stream.kind, sent_s, time.monotonic() - sent_s, status))
    if stream.is_fresh or status == 0:
        client.close()
    else:
        idle.append(client)
