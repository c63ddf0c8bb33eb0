"""HTTP calls to one server that end by a deadline, on connections that are reused.

The timeouts of requests, urllib3 and http.client limit each read. A server that sends its headers byte by byte never
exceeds them. Here the socket enforces one deadline for all reads and writes of a call. http.client only speaks HTTP.
"""

import base64
import select
import socket
import ssl
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic
from typing import Any, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

import certifi

_BODY_MAX_BYTES = 64 * 1024
_PORTS = {"http": 80, "https": 443}


class ResponseTooLong(HTTPException):
    """The body of the response exceeds 64 KiB."""


class _DeadlineSocket(socket.socket):
    """A socket whose reads and writes fail after `deadline_s`, a value of time.monotonic()."""

    deadline_s = 0.0

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.settimeout(_seconds_left(self.deadline_s))
        return super().recv_into(*arguments, **options)

    def sendall(self, *arguments: Any, **options: Any) -> None:
        self.settimeout(_seconds_left(self.deadline_s))
        super().sendall(*arguments, **options)


class _DeadlineTlsSocket(_DeadlineSocket, ssl.SSLSocket):
    """The same over TLS."""


class _Connection(HTTPConnection):
    """HTTP on a connected socket. http.client sets `sock` to None when it closes the socket."""

    def __init__(self, host: str, port: int, connected: _DeadlineSocket) -> None:
        super().__init__(host, port)
        self.sock = self.deadline_socket = connected


class DeadlineHttpClient:
    """Sends requests to one URL. Threads share it and its idle connections.

    Follows no redirect and uses no proxy, cookie or credential from the environment. The system's limits apply to the
    name lookup, which is not part of the deadline.

    Args:
        url: http or https; user and password in it are sent as basic authentication.
        connect_timeout_s: limit for each address of the host to connect, and for the TLS handshake.
        read_timeout_s: limit for request and response together. A call takes at most both timeouts.
        ca_file: PEM file of the CAs to trust, read for each new connection. Empty: the public CAs.
    """

    def __init__(self, url: str, *, connect_timeout_s: float, read_timeout_s: float, ca_file: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._path = quote(parts.path, safe="/%!$&'()*+,:;=@~")
        self._headers = _headers(parts)
        self._is_https = parts.scheme == "https"
        self._ca_file = ca_file or certifi.where()
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._idle: list[_Connection] = []

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Send JSON and return the status and the body of the response.

        Raises:
            OSError: no connection, or no complete response by the deadline.
            HTTPException: the response is not valid HTTP, incomplete or too long.
            ValueError: the response is not valid HTTP.
        """
        deadline_s = self._deadline_s()
        connection, is_reusable = self._take_idle() or self._open(deadline_s), False
        try:
            connection.deadline_socket.deadline_s = min(deadline_s, monotonic() + self._read_timeout_s)
            connection.request("POST", self._path, body, self._headers)
            with connection.getresponse() as response:
                content = _read(response)
            # None: the server does not keep the connection open.
            is_reusable = connection.sock is not None
        finally:
            if is_reusable:
                self._idle.append(connection)
            else:
                connection.close()
        return response.status, content

    def ping(self) -> None:
        """Connect, with a TLS handshake for https, and send nothing. Raises OSError if that fails."""
        self._open(self._deadline_s()).close()

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _deadline_s(self) -> float:
        return monotonic() + self._connect_timeout_s + self._read_timeout_s

    def _take_idle(self) -> _Connection | None:
        """Return an idle connection that the server has not closed."""
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if not _is_readable(connection):
                    return connection
                connection.close()
        return None

    def _open(self, deadline_s: float) -> _Connection:
        return _Connection(self._host, self._port, self._connect(deadline_s))

    def _connect(self, deadline_s: float) -> _DeadlineSocket:
        """Connect to the first address of the host that accepts. If none does, raises the error of the last address."""
        failure = OSError("the host has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM):
            connected = _DeadlineSocket(family, kind, protocol)
            try:
                self._limit(connected, deadline_s)
                connected.connect(address)
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._limit(connected, deadline_s)
                return self._start_tls(connected) if self._is_https else connected
            except OSError as error:
                connected.close()
                failure = error
        raise failure

    def _limit(self, connected: _DeadlineSocket, deadline_s: float) -> None:
        connected.settimeout(min(self._connect_timeout_s, _seconds_left(deadline_s)))

    def _start_tls(self, connected: _DeadlineSocket) -> _DeadlineSocket:
        context = ssl.create_default_context(cafile=self._ca_file)
        context.sslsocket_class = _DeadlineTlsSocket
        return cast("_DeadlineTlsSocket", context.wrap_socket(connected, server_hostname=self._host))


def _headers(parts: SplitResult) -> dict[str, str]:
    credentials, _, host = parts.netloc.rpartition("@")
    headers = {"Host": host, "Content-Type": "application/json", "User-Agent": "promo-api"}
    if credentials:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(credentials).encode()).decode()}"
    return headers


def _seconds_left(deadline_s: float) -> float:
    left_s = deadline_s - monotonic()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s


def _is_readable(connection: _Connection) -> bool:
    """Return whether an idle connection has data to read: the server closed it or sent unrequested data."""
    poll = select.poll()
    poll.register(connection.deadline_socket, select.POLLIN)
    return bool(poll.poll(0))


def _read(response: HTTPResponse) -> bytes:
    body = response.read(_BODY_MAX_BYTES + 1)
    if len(body) > _BODY_MAX_BYTES:
        raise ResponseTooLong
    # Without a size `read` raises IncompleteRead if the connection ended before the body.
    return body + response.read()
