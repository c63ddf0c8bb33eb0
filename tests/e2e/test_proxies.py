"""deploy/nginx.conf and deploy/haproxy.cfg, run by the real programs in front of a server, over TLS."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from promo_api.dev.ports import free_port
from promo_api.dev.processes import wait_until
from tests.accounts import Api
from tests.certificates import make_ca, make_server_certificate
from tests.e2e.raw import request
from tests.e2e.remote import Remote
from tests.e2e.server import Server

_DEPLOY = Path(__file__).parents[2] / "deploy"
_HOST = "127.0.0.1"
_START_S, _END_S = 20, 10
_HSTS = "max-age=31536000"


@dataclass
class Proxy:
    """A proxy in front of a server.

    Attributes:
        folder: for its files.
        http: the URL of its port without TLS.
        https: the URL of its port with TLS.
        ca: the file of the CA of its certificate.
        replacements: names and addresses of the configuration, with their values in the test.
        lowered_limit: replacements for a rate limit that a test can reach.
    """

    folder: Path
    http: str
    https: str
    ca: Path
    replacements: dict[str, str]
    lowered_limit: dict[str, str]

    @contextmanager
    def running(self, changes: Mapping[str, str]) -> Iterator[None]:
        """Check the configuration with the program itself, and run the program during the block."""
        with self._run(*self._commands(changes)):
            yield

    def _commands(self, changes: Mapping[str, str]) -> tuple[list[str | Path], list[str | Path]]:
        """Write the configuration, and return the command that checks it and the one that runs it."""
        raise NotImplementedError

    def responds(self) -> bool:
        """Return whether the service responds through it."""
        with suppress(requests.RequestException):
            return requests.get(f"{self.https}/api/ping", verify=str(self.ca), timeout=5).status_code == 200
        return False

    def _configuration(self, name: str, changes: Mapping[str, str]) -> str:
        text = (_DEPLOY / name).read_text(encoding="utf-8")
        for old, new in (self.replacements | dict(changes)).items():
            assert old in text, f"{old} is not in {name}"
            text = text.replace(old, new)
        return text

    @contextmanager
    def _run(self, check: list[str | Path], command: list[str | Path]) -> Iterator[None]:
        checked = subprocess.run(check, capture_output=True, text=True, timeout=_START_S, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "warn" not in checked.stderr.lower(), checked.stderr
        # nginx overwrites its environment, so the watchdog cannot find it. The kernel sends it a signal instead.
        command = ["setpriv", "--pdeathsig", "TERM", *command]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                assert wait_until(self.responds, _START_S)
                yield
            finally:
                process.terminate()
                process.wait(_END_S)


class Nginx(Proxy):
    """nginx with deploy/nginx.conf as its only site."""

    def _commands(self, changes: Mapping[str, str]) -> tuple[list[str | Path], list[str | Path]]:
        program = _program("nginx")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)
        file = self.folder / "nginx.conf"
        file.write_text(
            f"user root; daemon off; pid {self.folder}/pid; error_log {self.folder}/error.log; events {{}}\n"
            f"http {{ access_log off; {paths}\n{self._configuration('nginx.conf', changes)}}}\n"
        )
        command: list[str | Path] = [program, "-c", file, "-e", self.folder / "error.log"]
        return [*command, "-t"], command


class Haproxy(Proxy):
    """HAProxy with deploy/haproxy.cfg."""

    def _commands(self, changes: Mapping[str, str]) -> tuple[list[str | Path], list[str | Path]]:
        program = _program("haproxy")
        file = self.folder / "haproxy.cfg"
        file.write_text(self._configuration("haproxy.cfg", changes))
        return [program, "-c", "-f", file], [program, "-db", "-f", file]


def _program(name: str) -> str:
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(f"{name} is not installed.")
    return program


@pytest.fixture(params=["nginx", "haproxy"])
def proxy(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Proxy:
    """A proxy that is ready to run."""
    ca = make_ca(tmp_path, "test-ca")
    certificate = make_server_certificate(tmp_path, ca, _HOST)
    both = tmp_path / "both.pem"
    both.write_text(certificate.certificate.read_text() + certificate.key.read_text())
    http, https = (free_port(_HOST) for _ in range(2))
    where = (tmp_path, f"http://{_HOST}:{http}", f"https://{_HOST}:{https}", ca.certificate)
    upstream = {"127.0.0.1:8080": f"{_HOST}:{server.port}"}
    if request.param == "nginx":
        replacements = upstream | {
            "listen 80;": f"listen {_HOST}:{http};",
            "listen 443 ssl;": f"listen {_HOST}:{https} ssl;",
            "/etc/ssl/certs/promo.pem": str(certificate.certificate),
            "/etc/ssl/private/promo.key": str(certificate.key),
        }
        return Nginx(*where, replacements, {"rate=500r/s": "rate=1r/m", "burst=1000": "burst=5"})
    replacements = upstream | {
        "bind :80": f"bind {_HOST}:{http}",
        "bind :443": f"bind {_HOST}:{https}",
        "/etc/haproxy/promo.pem": str(both),
        # only root can
        "    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n": "",
        # needs 20,000 open files, more than some machines allow
        "maxconn 10000": "maxconn 1000",
    }
    return Haproxy(*where, replacements, {"http_req_rate gt 5000": "http_req_rate gt 5"})


def test_requests_over_tls(proxy: Proxy) -> None:
    """The service responds through the proxy over TLS as it does directly, also to a large body."""
    with proxy.running({}):
        remote = Remote(proxy.https)
        remote.verify = str(proxy.ca)
        accounts = Api(remote)  # type: ignore[arg-type]
        user, promo_id = (
            accounts.sign_up_user(),
            accounts.sign_up_company().create_promo(promo_unique=["x" * 30] * 5000),
        )
        response = user.post(f"/user/promo/{promo_id}/activate")
        assert response.json() == {"promo": "x" * 30}
        assert response.headers["Strict-Transport-Security"] == _HSTS
        remote.close()


def test_redirect(proxy: Proxy) -> None:
    """A request without TLS is redirected, with its method, path and query."""
    with proxy.running({}):
        response = requests.post(f"{proxy.http}/api/ping?a=b", allow_redirects=False, timeout=5)
    assert response.status_code == 308
    assert response.headers["Location"].endswith("/api/ping?a=b")
    assert response.headers["Location"].startswith(f"https://{_HOST}")


def test_limit_of_an_address(proxy: Proxy) -> None:
    """An address that exceeds the rate limit gets 429 with the common error body."""
    with proxy.running(proxy.lowered_limit):
        responses = [requests.get(f"{proxy.https}/api/ping", verify=str(proxy.ca), timeout=5) for _ in range(20)]
    refused = responses[-1]
    assert refused.status_code == 429
    assert refused.headers["Content-Type"] == "application/json"
    assert (refused.json()["status"], refused.json()["code"]) == ("error", "rate_limited")
    assert refused.json()["message"].startswith("Too many requests from this address.")
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["Strict-Transport-Security"] == _HSTS


def test_slow_head(proxy: Proxy) -> None:
    """A client that does not complete the head of its request is disconnected."""
    setting = "client_header_timeout 10s" if isinstance(proxy, Nginx) else "timeout http-request 10s"
    context = ssl.create_default_context(cafile=proxy.ca)
    address = (_HOST, int(proxy.https.rpartition(":")[2]))
    with (
        proxy.running({setting: setting.replace("10s", "1s")}),
        socket.create_connection(address, timeout=8) as connection,
        context.wrap_socket(connection, server_hostname=_HOST) as client,
    ):
        client.sendall(b"GET /api/ping HTTP/1.1\r\nHost: a\r\n")
        received = b""
        with suppress(ConnectionResetError):
            while part := client.recv(4096):
                received += part
    assert not received or received.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
def test_upgrade_with_a_body(proxy: Proxy, comments: bytes, user_header: bytes, upgrade: bytes) -> None:
    """Proxy and service agree where a request to upgrade ends: its body is not parsed as a request."""
    host, port = proxy.https.removeprefix("https://").split(":")
    lines = [user_header, b"Content-Type: application/json", b"Connection: Upgrade", b"Upgrade: " + upgrade]
    hidden = request(b"POST", comments, user_header, b"Content-Type: application/json", body=b'{"text": "0123456789"}')
    sent = [
        request(b"POST", comments, *lines, body=b'{"text": "0123456789"}'),
        request(b"POST", comments, *lines, body=hidden),
        request(b"GET", b"/api/ping", b"Connection: close"),
    ]
    with proxy.running({}):
        context = ssl.create_default_context(cafile=str(proxy.ca))
        received = b""
        with (
            socket.create_connection((host, int(port)), timeout=_START_S) as connection,
            context.wrap_socket(connection, server_hostname=_HOST) as client,
        ):
            client.sendall(b"".join(sent))
            while part := client.recv(65536):
                received += part
    assert [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)] == [201, 400, 200]
