"""Receivers that break the rules: each has an outcome within the time limit, and costs little."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import pytest

from promo_api.dev.ports import free_port
from promo_api.webhooks import client
from tests.certificates import make_ca, make_server_certificate
from tests.integration.webhooks.shop import Shop
from tests.webhook_receiver import RawReceiver, Receiver, hang, with_status

_TIMEOUT_S = 0.5
_OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time limit of requests."""
    monkeypatch.setattr(client, "REQUEST_MAX_S", _TIMEOUT_S)


def _result(shop: Shop, url: str, **changes: Any) -> tuple[str, int | None, str | None]:
    """Deliver an event to a URL, and return what came of it."""
    hook = shop.add(url)
    shop.publish()
    shop.deliver(**changes)
    [result] = shop.results(hook)
    return result


def _result_of(shop: Shop, reply: Callable[[socket.socket, Event], None]) -> tuple[str, int | None, str | None]:
    with RawReceiver(reply) as receiver:
        result = _result(shop, receiver.url)
        assert receiver.connections == 1
        return result


def test_refused_connection(shop: Shop) -> None:
    """A port without a server is a failure."""
    result = _result(shop, f"http://127.0.0.1:{free_port('127.0.0.1')}/")
    assert result == ("pending", None, "connection_failed")


def test_unknown_name(shop: Shop) -> None:
    """A name that does not exist is a failure."""
    assert _result(shop, "http://receiver.invalid/") == ("pending", None, "name_not_found")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.1", "[::ffff:127.0.0.1]", "0x7f.1", "169.254.169.254"]
)  # fmt: skip
def test_forbidden_address(shop: Shop, host: str) -> None:
    """Nothing is sent to an address of this machine unless it is listed, neither by a name nor by a number."""

    def record(_connection: socket.socket, _ended: Event) -> None:
        pass

    with RawReceiver(record) as receiver:
        url = receiver.url.replace("127.0.0.1", host)
        assert _result(shop, url, webhook_allowed_networks="") == ("pending", None, "address_forbidden")
        assert receiver.connections == 0


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0177.0.0.1", "127.0.0.1."])
def test_shortened_address(shop: Shop, receiver: Receiver, host: str) -> None:
    """A number that only some programs read as an address is never used, also if the address is listed."""
    state, status, error = _result(shop, receiver.url.replace("127.0.0.1", host))
    assert (state, status) == ("pending", None)
    assert error in ("invalid_url", "address_forbidden")
    assert receiver.requests == []


def test_name_with_a_forbidden_address(shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to a public and to a forbidden address is refused as a whole."""

    def resolve(_host: str, port: int, *_more: Any, **_flags: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("127.0.0.1", "10.0.0.1")]

    hook = shop.add(receiver.url.replace("127.0.0.1", "shop.example"))
    shop.publish()
    monkeypatch.setattr("promo_api.webhooks.addresses.socket.getaddrinfo", resolve)
    shop.deliver()
    assert shop.results(hook) == [("pending", None, "address_forbidden")]
    assert receiver.requests == []


def test_original_name(shop: Shop, receiver: Receiver) -> None:
    """The request names the host of the URL, although the connection goes to its address."""
    url = receiver.url.replace("127.0.0.1", "localhost")
    assert _result(shop, url, webhook_allowed_networks="127.0.0.0/8,::1/128") == ("succeeded", 204, None)
    assert receiver.requests[0].headers["host"] == f"localhost:{receiver.port}"


def test_http_needs_a_setting(shop: Shop, receiver: Receiver) -> None:
    """Without the setting nothing is sent over http."""
    assert _result(shop, receiver.url, webhook_http_allowed=False) == ("pending", None, "insecure_url")
    assert receiver.requests == []


@pytest.mark.usefixtures("short_timeout")
def test_hanging(shop: Shop) -> None:
    """A receiver that does not respond fails after the time limit."""
    with Receiver(hang) as receiver:
        began_s = monotonic()
        assert _result(shop, receiver.url) == ("pending", None, "timeout")
        assert _TIMEOUT_S <= monotonic() - began_s < 10 * _TIMEOUT_S


@pytest.mark.usefixtures("short_timeout")
def test_slow_head(shop: Shop) -> None:
    """A receiver that sends its head byte by byte fails after the time limit for the whole."""

    def drip(connection: socket.socket, ended: Event) -> None:
        connection.sendall(_OK)
        while not ended.wait(0.05):
            connection.sendall(b"x")

    began_s = monotonic()
    assert _result_of(shop, drip) == ("pending", None, "timeout")
    assert monotonic() - began_s < 10 * _TIMEOUT_S


def test_slow_body(shop: Shop) -> None:
    """The status decides: a receiver that sends its body byte by byte is not waited for."""

    def drip(connection: socket.socket, ended: Event) -> None:
        connection.sendall(_OK + b"Content-Length: 1000000\r\n\r\n")
        while not ended.wait(0.05):
            connection.sendall(b"x")

    began_s = monotonic()
    assert _result_of(shop, drip) == ("succeeded", 200, None)
    assert monotonic() - began_s < 5


def test_huge_response(shop: Shop) -> None:
    """Of a huge response little is read, and the connection is closed."""
    sent = 0

    def flood(connection: socket.socket, _ended: Event) -> None:
        nonlocal sent
        connection.sendall(_OK + b"Content-Length: 10000000000\r\n\r\n")
        while True:
            sent += connection.send(b"x" * 65536)

    assert _result_of(shop, flood) == ("succeeded", 200, None)
    # What the buffers of the connection hold.
    assert sent < 20_000_000


def test_endless_head(shop: Shop) -> None:
    """Endless headers are refused."""

    def flood(connection: socket.socket, _ended: Event) -> None:
        connection.sendall(_OK)
        while True:
            connection.sendall(b"X-More: and more\r\n" * 1000)

    assert _result_of(shop, flood) == ("pending", None, "invalid_response")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", "connection_lost"),
        (b"HTTP/1.1 200", "connection_lost"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "invalid_response"),
        (b"HTTP/1.1 OK 200\r\n\r\n", "invalid_response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "invalid_response"),
        (bytes(range(256)) * 10, "invalid_response"),
    ],
)
def test_garbage(shop: Shop, reply: bytes, error: str) -> None:
    """A response that is not HTTP, or none, is a failure."""
    assert _result_of(shop, lambda connection, _: connection.sendall(reply)) == ("pending", None, error)


def test_reset(shop: Shop) -> None:
    """A reset connection is a failure."""

    def reset(connection: socket.socket, _ended: Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    assert _result_of(shop, reset) == ("pending", None, "connection_lost")


def test_compressed_response(shop: Shop) -> None:
    """A compressed body is not decompressed."""
    head = _OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nwrong"
    assert _result_of(shop, lambda connection, _: connection.sendall(head)) == ("succeeded", 200, None)


def test_cookies(shop: Shop, receiver: Receiver) -> None:
    """Cookies are not sent back."""
    receiver.respond = with_status(200, Set_Cookie="name=value")
    shop.add(receiver.url.replace("127.0.0.1", "localhost"))
    shop.publish(3)
    shop.deliver(webhook_allowed_networks="127.0.0.0/8,::1/128")
    assert [request.headers.get("cookie") for request in receiver.requests] == [None] * 3


@pytest.mark.parametrize(
    ("address", "trusts", "result"),
    [
        ("127.0.0.1", True, ("succeeded", 204, None)),
        ("127.0.0.1", False, ("pending", None, "tls_failed")),
        ("127.0.0.2", True, ("pending", None, "tls_failed")),
    ],
    ids=["trusted", "another CA", "another address"],
)
def test_tls(
    shop: Shop, tmp_path: Path, address: str, *, trusts: bool, result: tuple[str, int | None, str | None]
) -> None:
    """A certificate must be of a trusted CA, and for the host of the URL."""
    ca, other = make_ca(tmp_path, "ca"), make_ca(tmp_path, "other")
    certificate = make_server_certificate(tmp_path, ca, address)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)
    with Receiver(tls=context) as receiver:
        trusted = str((ca if trusts else other).certificate)
        assert _result(shop, receiver.url, webhook_ca_file=trusted, webhook_http_allowed=False) == result
        assert len(receiver.requests) == (result[1] is not None)


def test_tls_with_a_plain_server(shop: Shop, receiver: Receiver) -> None:
    """A server without TLS fails."""
    result = _result(shop, receiver.url.replace("http:", "https:"))
    assert result == ("pending", None, "tls_failed")
    assert receiver.requests == []
