"""Bytes to a server, as nobody's HTTP library would send them, and how it answers."""

import socket
from contextlib import suppress
from time import monotonic
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S = 3


class RawAnswer(NamedTuple):
    """The answer to bytes: its status, all of it, and after how many seconds it had begun."""

    status: int
    content: bytes
    seconds: float


def send_raw(url: str, message: bytes) -> RawAnswer:
    """Send bytes over a connection of its own and return the answer, which must begin within some seconds."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S) as connection:
        began = monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer, and close, before all was sent
            connection.sendall(message)
        content = _received(connection)
    first = content.split(b"\r\n", 1)[0].split(b" ")
    return RawAnswer(int(first[1]) if first[0].startswith(b"HTTP/1.") else 0, content, monotonic() - began)


def _received(connection: socket.socket) -> bytes:
    """Return what comes, up to the end of the first answer's body, or of the connection."""
    content = b""
    with suppress(TimeoutError, ConnectionResetError):
        while part := connection.recv(65536):
            content += part
            head, end, body = content.partition(b"\r\n\r\n")
            if end and len(body) >= _length(head):
                break
    return content


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def request(method: bytes, path: bytes, *headers: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    """Return a request of these parts, as they are; with Host, and with Content-Length if there is a body."""
    length = [b"Content-Length: %d" % len(body)] if body else []
    lines = [b"%s %s %s" % (method, path, version), b"Host: localhost", *headers, *length, b"", body]
    return b"\r\n".join(lines)


def send_broken(url: str, message: bytes) -> bytes:
    """Send the beginning of a request, end the sending, and return what the server says to that."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        return _received(connection)
