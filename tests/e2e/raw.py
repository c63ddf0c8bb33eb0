"""A client that sends raw bytes, valid HTTP or not."""

import re
import socket
from contextlib import suppress
from time import monotonic
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S = 3
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class RawResponse(NamedTuple):
    """A response: its status (0: none), all its bytes, and the seconds until it was complete."""

    status: int
    content: bytes
    seconds: float


def send_raw(url: str, message: bytes, *, whole: bool = False) -> RawResponse:
    """Send bytes over a new connection, and return the response; `whole`: all bytes until the connection ends."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S) as connection:
        began = monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):  # an early response and close
            connection.sendall(message)
        content = received(connection, with_body=not message.startswith(b"HEAD "), whole=whole)
    first = content.split(b"\r\n", 1)[0].split(b" ")
    return RawResponse(int(first[1]) if first[0].startswith(b"HTTP/1.") else 0, content, monotonic() - began)


def received(connection: socket.socket, *, with_body: bool = True, whole: bool = False) -> bytes:
    """Return the first response, without "100 Continue", or all bytes until the connection ends."""
    content = b""
    with suppress(TimeoutError, ConnectionResetError):
        while part := connection.recv(65536):
            content = (content + part).removeprefix(_CONTINUE)
            head, end, body = content.partition(b"\r\n\r\n")
            if end and not whole and (not with_body or len(body) >= _length(head)):
                break
    return content


def _length(head: bytes) -> int:
    return int(fields(head).get("content-length", "0"))


def fields(head: bytes) -> dict[str, str]:
    """Return the headers of a response, by lower-case names."""
    lines = head.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def request(method: bytes, path: bytes, *headers: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    """Return the bytes of a request. Host is added, and Content-Length if there is a body."""
    length = [b"Content-Length: %d" % len(body)] if body else []
    lines = [b"%s %s %s" % (method, path, version), b"Host: localhost", *headers, *length, b"", body]
    return b"\r\n".join(lines)


def send_to_the_end(url: str, message: bytes) -> list[int]:
    """Send bytes, and return the statuses of all responses until the server closes the connection."""
    parts = urlsplit(url)
    content = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(message)
        while part := connection.recv(65536):
            content += part
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", content)]


def send_broken(url: str, message: bytes) -> bytes:
    """Send an incomplete request, close the sending side, and return the response."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        return received(connection)
