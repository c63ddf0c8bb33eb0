"""The protocol of the anti-fraud service: one call over HTTP, one verdict, within a bounded time."""

import io
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection

from promo_api.settings import Settings

_ANSWER_MAX_BYTES = 64 * 1024
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Verdict:
    """An answer of the service; `holds_until` (UTC) None: it counts for this attempt only."""

    ok: bool
    holds_until: datetime | None


class NoAnswer(Exception):
    """The service did not answer in time, or not in the form of its protocol."""


class AntifraudClient:
    """Asks the service; connections are kept and shared by threads.

    A call takes at most ANTIFRAUD_CONNECT_TIMEOUT_S + ANTIFRAUD_READ_TIMEOUT_S: the answer, headers and body, must be
    there within the latter. Two things can add to it: how long the machine takes to find the addresses of the
    service's name, and, of these, so many that are dead that connecting to one after the other takes longer.
    """

    def __init__(self, settings: Settings) -> None:
        url = f"{settings.antifraud_address}/api/validate"
        self._parts = urlsplit(url)
        connect_s, read_s = settings.antifraud_connect_timeout_s, settings.antifraud_read_timeout_s
        self._connect_timeout_s = connect_s
        # The stubs of requests know numbers only. What connecting takes beyond its limit goes off the limit of reading.
        self._timeout: Any = Timeout(connect=connect_s, read=read_s, total=connect_s + read_s)
        # Without a session around it: no cookies, no proxies or credentials of the environment, no redirects, and half
        # the time on the processor.
        self._http = _Adapter(pool_maxsize=settings.antifraud_threads)
        # requests reads the file for each new connection; True means the public CAs that it ships with.
        self._verify: bool | str = settings.antifraud_ca_file or True
        self._question = requests.Request("POST", url, {"Content-Type": "application/json"}).prepare()
        self._knock = requests.Request("GET", url).prepare()

    def ask(self, email: str, promo_id: UUID) -> Verdict:
        """Ask once whether a user may activate a promo.

        Raises:
            NoAnswer: there is no verdict; the message says why in a few constant words.
        """
        question = self._question.copy()
        question.prepare_body(orjson.dumps({"user_email": email, "promo_id": str(promo_id)}), None)
        try:
            with self._send(question) as response:
                if response.status_code != requests.codes.ok:
                    raise NoAnswer(f"status {response.status_code}")
                return _verdict(_body(response))
        except requests.RequestException as error:
            raise NoAnswer(type(error).__name__) from error

    def ping(self) -> None:
        """Raise requests.RequestException, with a reason, if nothing listens at the address of the service."""
        self._send(self._knock).close()

    def reach(self) -> None:
        """Raise OSError if no connection to the service can be made. It is asked nothing."""
        port = self._parts.port or _PORTS[self._parts.scheme]
        socket.create_connection((self._parts.hostname, port), self._connect_timeout_s).close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _send(self, request: requests.PreparedRequest) -> requests.Response:
        try:
            return self._http.send(request, timeout=self._timeout, stream=True, verify=self._verify)
        except requests.RequestException:
            raise
        except OSError as error:  # the CA file has been removed since the start
            raise requests.exceptions.SSLError(str(error)) from error


class _TimedReader(io.RawIOBase):
    """Reads from a socket, whose timeout is the limit of all the reads together.

    The limit of a socket, and so that of urllib3, is for each read: a service that sends its headers byte by byte would
    never reach it. Here each read gets what the reads before it have left.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._raw = connection.makefile("rb", buffering=0)
        self._ends_at = time.monotonic() + (connection.gettimeout() or 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(HTTPResponse):
    """An answer that is read, from its first byte to its last, within the limit that urllib3 set for one read."""

    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedReader(sock))


class _TimedHttpConnection(HTTPConnection):
    response_class = _TimedResponse


class _TimedHttpsConnection(HTTPSConnection):
    response_class = _TimedResponse


class _TimedHttpPool(HTTPConnectionPool):
    ConnectionCls = _TimedHttpConnection


class _TimedHttpsPool(HTTPSConnectionPool):
    ConnectionCls = _TimedHttpsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _TimedHttpPool, "https": _TimedHttpsPool}


def _body(response: requests.Response) -> bytes:
    """Read an answer that may not grow without end."""
    body = bytearray()
    for part in response.iter_content(4096):
        body += part
        if len(body) > _ANSWER_MAX_BYTES:
            raise NoAnswer("too long")
    return bytes(body)


def _verdict(body: bytes) -> Verdict:
    try:
        answer: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NoAnswer("no JSON") from error
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
        raise NoAnswer("no verdict")
    until = answer.get("cache_until")
    return Verdict(answer["ok"], None if until is None else _instant(until))


def _instant(text: object) -> datetime:
    if not isinstance(text, str):
        raise NoAnswer("cache_until is no time")
    try:
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NoAnswer("cache_until is no time") from error
