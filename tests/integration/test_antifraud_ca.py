"""ANTIFRAUD_CA_FILE: an anti-fraud service with a certificate of a private CA."""

import ssl
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest

from promo_api.antifraud.client import AntifraudClient, NoVerdict
from promo_api.config.settings import Settings
from tests.certificates import Certificate, make_ca, make_server_certificate
from tests.unit.required_settings import SECRET

_HOST = "127.0.0.1"
_BODY = b'{"ok": true}'


class _Service(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(_BODY)))
        self.end_headers()
        self.wfile.write(_BODY)

    def log_message(self, *_arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_arguments: object) -> None:
        """Ignore clients that refuse the certificate."""


@pytest.fixture
def ca(tmp_path: Path) -> Certificate:
    """A private CA."""
    return make_ca(tmp_path, "private-ca")


@pytest.fixture
def address(tmp_path: Path, ca: Certificate) -> Iterator[str]:
    """The https address of an anti-fraud service whose certificate the private CA has signed."""
    certificate = make_server_certificate(tmp_path, ca, _HOST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = _Server((_HOST, 0), _Service)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"https://{_HOST}:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def _client(address: str, ca_file: str) -> AntifraudClient:
    environment = {"ANTIFRAUD_ADDRESS": address, "SECRET_KEY": SECRET, "ANTIFRAUD_CA_FILE": ca_file}
    return AntifraudClient(Settings.from_environment(environment))


def test_verified_with_its_ca(address: str, ca: Certificate) -> None:
    """With the file of its CA the certificate is accepted, for verdicts and for `check`."""
    with closing(_client(address, str(ca.certificate))) as client:
        assert client.ask("a@b.example", uuid4()).ok
        client.ping()


def test_refused_without_its_ca(address: str) -> None:
    """Without the file the certificate is rejected: there is no verdict, and `check` gets the reason."""
    with closing(_client(address, "")) as client:
        with pytest.raises(NoVerdict, match=r"^SSLError$"):
            client.ask("a@b.example", uuid4())
        with pytest.raises(OSError, match="certificate verify failed"):
            client.ping()


def test_refused_with_another_ca(address: str, tmp_path: Path) -> None:
    """With the file of another CA the certificate is rejected."""
    other = str(make_ca(tmp_path, "other-ca").certificate)
    with closing(_client(address, other)) as client, pytest.raises(NoVerdict, match=r"^SSLError$"):
        client.ask("a@b.example", uuid4())


def test_file_removed_after_the_start(address: str, ca: Certificate) -> None:
    """If the file is removed after the start, there is no verdict, and no unexpected error."""
    with closing(_client(address, str(ca.certificate))) as client:
        ca.certificate.unlink()
        with pytest.raises(NoVerdict, match=r"^OSError$"):
            client.ask("a@b.example", uuid4())
