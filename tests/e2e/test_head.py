"""HEAD: the status and headers of GET, without a body, and the connection goes on."""

import re
from typing import NamedTuple

import pytest

from promo_api.dev.processes import wait_until
from tests.e2e.raw import fields, request, send_raw
from tests.e2e.server import Server
from tests.operations import OPERATIONS, Operation

pytestmark = pytest.mark.usefixtures("unharmed")

_UUID = "00000000-0000-4000-8000-000000000000"
_GZIP = b"Accept-Encoding: gzip"


class _Resources(NamedTuple):
    """Ids of existing resources, and the headers of their owners by kind of account."""

    promo_id: str
    comment_id: str
    job_id: str
    redemption_id: str
    webhook_id: str
    tokens: dict[str, list[bytes]]

    def target(self, path: str) -> bytes:
        """Return the path of these resources, below /api."""
        ids = {"/jobs/": self.job_id, "/redemptions/": self.redemption_id, "/webhooks/": self.webhook_id}
        id_of_path = next((each for part, each in ids.items() if part in path), self.promo_id)
        return ("/api" + path.replace("{id}", id_of_path).replace("{comment_id}", self.comment_id)).encode()


@pytest.fixture(scope="module")
def resources(server: Server) -> _Resources:
    """A promo with a large list of comments and history, its company, and their user."""
    company, user = server.accounts.sign_up_company(), server.accounts.sign_up_user()
    promo_id = company.create_promo(description="A promo that " + "is described " * 20)
    comments = [user.post(f"/user/promo/{promo_id}/comments", json={"text": "x" * 1000}) for _ in range(10)]
    tokens = {"company": company.token, "user": user.token, "": "none"}
    headers = {kind: [f"Authorization: Bearer {token}".encode()] for kind, token in tokens.items()}
    unique = company.create_promo(promo_unique=["first"])
    job_id = company.post(f"/business/promo/{unique}/codes", json=["second"]).json()["id"]
    assert wait_until(lambda: "finished_at" in company.get(f"/business/jobs/{job_id}").json(), 60)
    assert user.post(f"/user/promo/{unique}/activate").status_code == 200
    redemption_id = company.post("/business/redemptions", json={"code": "first"}).json()["id"]
    webhook = {"url": "https://shop.example/hooks", "enabled": False}  # without deliveries, which would change it
    webhook_id = company.post("/business/webhooks", json=webhook).json()["id"]
    return _Resources(promo_id, comments[0].json()["id"], job_id, redemption_id, webhook_id, headers)


def _assert_like_get(server: Server, target: bytes, *headers: bytes, status: int) -> None:
    """Assert that HEAD has the status and headers of GET and no body: the next response follows directly."""
    get = send_raw(server.url, request(b"GET", target, *headers))
    requests = request(b"HEAD", target, *headers) + request(b"GET", b"/api/ping", b"Connection: close")
    content = send_raw(server.url, requests, whole=True).content
    head, _, rest = content.partition(b"\r\n\r\n")
    assert get.status == status, get
    assert head.startswith(b"HTTP/1.1 %d " % status), content
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.count(b"\r\n\r\n") == 1
    # The last belongs to the body of a stream.
    changing = {"x-request-id": "", "date": "", "transfer-encoding": ""}
    assert fields(head) | changing == fields(get.content) | changing


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.method == "GET"], ids=lambda each: each.id)
def test_like_get(server: Server, resources: _Resources, operation: Operation) -> None:
    """HEAD is answered wherever GET is, also compressed, and also if the request is refused."""
    target, token = resources.target(operation.path), resources.tokens[operation.account]
    if operation.id != "health.get_health":  # its latencies differ
        _assert_like_get(server, target, *token, status=200)
        _assert_like_get(server, target, *token, _GZIP, status=200)
    _assert_like_get(server, target + b"?no_such=1", *token, status=400)
    if operation.account:
        _assert_like_get(server, target, status=401)
    if "{" in operation.path:
        missing = ("/api" + re.sub(r"\{.*?\}", _UUID, operation.path)).encode()
        _assert_like_get(server, missing, *token, status=404)


@pytest.mark.parametrize(
    ("target", "status"), [(b"/api/openapi.json", 200), (b"/api/nosuch", 404), (b"/", 307), (b"/api/user/feed/", 404)]
)
def test_other_paths(server: Server, target: bytes, status: int) -> None:
    """HEAD of the specification, of a redirect and of an unknown path is answered like GET."""
    _assert_like_get(server, target, status=status)


def test_path_without_get(server: Server) -> None:
    """HEAD of a path without GET is 405, without a body."""
    message = request(b"HEAD", b"/api/user/auth/sign-in") + request(b"GET", b"/api/ping", b"Connection: close")
    head, _, rest = send_raw(server.url, message, whole=True).content.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert fields(head)["allow"] == "POST"
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


def test_head_with_a_body(server: Server) -> None:
    """A body of a HEAD request is ignored, and is no request."""
    hidden = request(b"GET", b"/api/ping")
    message = request(b"HEAD", b"/api/ping", body=hidden) + request(b"GET", b"/api/ping", b"Connection: close")
    assert send_raw(server.url, message, whole=True).content.count(b"HTTP/1.1 ") == 2


def test_log_and_metrics(server: Server) -> None:
    """The log has the method, and the operation of GET."""
    response = send_raw(server.url, request(b"HEAD", b"/api/ping", b"X-Request-Id: head-of-ping"))
    assert response.status == 200
    assert wait_until(lambda: "head-of-ping" in server.log, 10)
    (line,) = [line for line in server.lines() if line.get("request_id") == "head-of-ping"]
    assert (line["operation"], line["method"], line["status"]) == ("health.ping", "HEAD", 200)
