"""An HTTP client over one connection, which can send malformed requests."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

# The header in which a proxy passes the address of the client, for CLIENT_ADDRESS_HEADER.
ADDRESS_HEADER = "X-Real-IP"

_HEAD_END = b"\r\n\r\n"


class Endpoint(NamedTuple):
    """The address of the service or of a proxy in front of it; `source` is the client's own address, or empty."""

    port: int
    host: str = "127.0.0.1"
    tls: bool = False
    source: str = ""

    async def connect(self, receive_bytes: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection. `receive_bytes` sets the size of the receive buffer; 0 keeps the default."""
        connecting = socket.socket()
        try:
            connecting.setblocking(False)  # noqa: FBT003 the parameter is positional
            if receive_bytes:
                connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            if self.source:
                connecting.bind((self.source, 0))
            await asyncio.get_running_loop().sock_connect(connecting, (self.host, self.port))
            tls = {"ssl": _any_certificate(), "server_hostname": self.host} if self.tls else {}
            return await asyncio.open_connection(sock=connecting, **tls)  # type: ignore[arg-type]
        except BaseException:
            connecting.close()
            raise


class Response(NamedTuple):
    """A response. Status 0: the connection was closed without one."""

    status: int
    body: bytes
    took_s: float

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


class Client:
    """Sends requests over one connection, and reconnects when the server has closed it."""

    def __init__(self, endpoint: Endpoint | int) -> None:
        self._endpoint = Endpoint(endpoint) if isinstance(endpoint, int) else endpoint
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        """Do nothing; the first request connects."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    async def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str = "", address: str = ""
    ) -> Response:
        """Send a request to a path below /api. `address` is sent in the header of the proxy."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} /api{path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(content)}"]
        lines += ["Content-Type: application/json"] if content else []
        lines += [f"Authorization: Bearer {token}"] if token else []
        lines += [f"{ADDRESS_HEADER}: {address}"] if address else []
        return await self.send("\r\n".join(lines).encode() + _HEAD_END + content)

    async def send(self, *pieces: bytes, pause_s: float = 0) -> Response:
        """Send bytes, valid or not, with a pause after each piece, until there is a response."""
        started_s = time.perf_counter()
        status, body = 0, b""
        with suppress(OSError, EOFError):
            reader, writer = await self._connected()
            response = asyncio.create_task(self._read_response(reader))
            try:
                for piece in pieces:
                    writer.write(piece)
                    if pause_s and (await asyncio.wait({response}, timeout=pause_s))[0]:
                        break
                status, body = await response
            finally:
                response.cancel()
        if status == 0:
            self.close()
        return Response(status, body, time.perf_counter() - started_s)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            self._streams = await self._endpoint.connect()
        return self._streams

    async def _read_response(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readuntil(_HEAD_END)).decode("latin-1").lower()
        lines = head.split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return int(lines[0].split(" ")[1]), body

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
