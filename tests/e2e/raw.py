"""Bytes to a server, as nobody's HTTP library would send them, and how it answers."""

import re
import socket
from contextlib import suppress
from time import monotonic
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S = 3
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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
        content = received(connection, with_body=not message.startswith(b"HEAD "))
    first = content.split(b"\r\n", 1)[0].split(b" ")
    return RawAnswer(int(first[1]) if first[0].startswith(b"HTTP/1.") else 0, content, monotonic() - began)


def received(connection: socket.socket, *, with_body: bool = True) -> bytes:
    """Return what comes, up to the end of the first answer, or of the connection; "100 Continue" is no answer yet."""
    content = b""
    with suppress(TimeoutError, ConnectionResetError):
        while part := connection.recv(65536):
            content = (content + part).removeprefix(_CONTINUE)
            head, end, body = content.partition(b"\r\n\r\n")
            if end and (not with_body or len(body) >= _length(head)):
                break
    return content


def _length(head: bytes) -> int:
    return int(fields(head).get("content-length", "0"))


def fields(head: bytes) -> dict[str, str]:
    """Return the header fields of an answer, by their names in small letters."""
    lines = head.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def request(method: bytes, path: bytes, *headers: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    """Return a request of these parts, as they are; with Host, and with Content-Length if there is a body."""
    length = [b"Content-Length: %d" % len(body)] if body else []
    lines = [b"%s %s %s" % (method, path, version), b"Host: localhost", *headers, *length, b"", body]
    return b"\r\n".join(lines)


def send_to_the_end(url: str, message: bytes) -> list[int]:
    """Send bytes, and return the statuses of all answers until the server ends the connection."""
    parts = urlsplit(url)
    content = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(message)
        while part := connection.recv(65536):
            content += part
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", content)]


def send_broken(url: str, message: bytes) -> bytes:
    """Send the beginning of a request, end the sending, and return what the server says to that."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        return received(connection)
