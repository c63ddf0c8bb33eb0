"""The HTTP client of the anti-fraud service."""

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, Timeout, connection_from_url
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from promo_api.config.settings import Settings

_RESPONSE_MAX_BYTES = 64 * 1024
_CHUNK_BYTES = 4096
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Verdict:
    """A verdict, cacheable until `valid_until` (UTC); None: not at all."""

    ok: bool
    valid_until: datetime | None


class NoVerdict(Exception):
    """The service was unavailable, or its response violates the protocol."""


class AntifraudClient:
    """Calls the service. Thread-safe.

    A call takes at most the connect timeout (per address of the host), the read timeout and the name lookup.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = url = f"{settings.antifraud_address}/api/validate"
        connect_s, read_s = settings.antifraud_connect_timeout_s, settings.antifraud_read_timeout_s
        # The type stubs only know numbers.
        self._timeout: Any = Timeout(connect=connect_s, read=read_s, total=connect_s + read_s)
        self._http = _Adapter(url, settings.antifraud_threads)
        self._connect_timeout_s = connect_s
        self._ca_file = settings.antifraud_ca_file
        self._request = requests.Request("POST", url, {"Content-Type": "application/json"}).prepare()

    def ask(self, email: str, promo_id: UUID) -> Verdict:
        """Ask once. Raise NoVerdict with a constant reason for the log."""
        request = self._request.copy()
        request.prepare_body(orjson.dumps({"user_email": email, "promo_id": str(promo_id)}), None)
        try:
            with self._http.send(request, timeout=self._timeout, stream=True, verify=self._ca_file or True) as response:
                if response.status_code != requests.codes.ok:
                    raise NoVerdict(f"status {response.status_code}")
                return _verdict(_body(response))
        # OSError: unreadable CA file. ValueError: negative chunk size.
        except (requests.RequestException, OSError, ValueError) as error:
            raise NoVerdict(type(error).__name__) from error

    def ping(self) -> None:
        """Open a connection, with TLS for https, or raise OSError."""
        parts = urlsplit(self._url)
        address = parts.hostname, parts.port or _PORTS[parts.scheme]
        with socket.create_connection(address, self._connect_timeout_s) as connection:
            if parts.scheme == "https":
                context = ssl.create_default_context(cafile=self._ca_file or DEFAULT_CA_BUNDLE_PATH)
                context.wrap_socket(connection, server_hostname=parts.hostname).close()

    def close(self) -> None:
        """Close all idle connections."""
        self._http.close()


class _DeadlineSocket(socket.socket):
    """A socket whose timeout limits all following reads together.

    An ordinary timeout never ends a response that is sent byte by byte.
    """

    _deadline_s: float | None = None

    def settimeout(self, timeout_s: float | None) -> None:
        super().settimeout(timeout_s)
        self._deadline_s = None if timeout_s is None else monotonic() + timeout_s

    def recv_into(self, *arguments: Any) -> int:
        if self._deadline_s is not None:
            left_s = self._deadline_s - monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            super().settimeout(left_s)
        return super().recv_into(*arguments)


class _DeadlineTlsSocket(_DeadlineSocket, ssl.SSLSocket):
    """The same over TLS."""


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        connected: socket.socket = self.sock
        self.sock = _DeadlineSocket(fileno=connected.detach())
        self.sock.settimeout(self.timeout)


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        # A new context, because the CA file may have changed.
        self.ssl_context = create_urllib3_context()
        self.ssl_context.sslsocket_class = _DeadlineTlsSocket
        super().connect()


class _Adapter(HTTPAdapter):
    """One pool. No session: no cookies, redirects, proxies or environment credentials."""

    def __init__(self, url: str, connections: int) -> None:
        super().__init__()
        self._pool = connection_from_url(url, maxsize=connections)
        self._pool.ConnectionCls = _TlsConnection if self._pool.scheme == "https" else _Connection

    def get_connection_with_tls_context(self, *_arguments: Any, **_options: Any) -> HTTPConnectionPool:
        return self._pool

    def close(self) -> None:
        self._pool.close()


def _body(response: requests.Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(_CHUNK_BYTES):
        body += chunk
        if len(body) > _RESPONSE_MAX_BYTES:
            raise NoVerdict("response too long")
    return bytes(body)


def _verdict(body: bytes) -> Verdict:
    try:
        verdict: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NoVerdict("invalid JSON") from error
    if not isinstance(verdict, dict) or not isinstance(verdict.get("ok"), bool):
        raise NoVerdict("no verdict")
    until = verdict.get("cache_until")
    return Verdict(verdict["ok"], None if until is None else _instant(until))


def _instant(text: object) -> datetime:
    if not isinstance(text, str):
        raise NoVerdict("invalid cache_until")
    try:
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NoVerdict("invalid cache_until") from error
