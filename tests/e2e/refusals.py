"""What is said of bytes that no client sends: refused at once, with a 4xx, in the one shape."""

import json

import pytest

from promo_api.contract.security_headers import SECURITY_HEADERS
from tests.e2e.raw import RawAnswer, fields, send_raw
from tests.e2e.server import Server

_WORK_S = 0.1
_WAIT_S = 1
_TRIES = 3


def answered(server: Server, message: bytes) -> RawAnswer:
    """Send bytes and return the answer, which must cost less than 100 ms.

    On a machine that does nothing else that is the time until the answer is complete. Here other tests take the cores
    at any moment and for as long as they like. So where it took longer, the time counts that the processes of the
    server worked, and the best of three tries: what is really slow works that long each time.
    """
    for _ in range(_TRIES):
        before = server.worked_s()
        answer = send_raw(server.url, message)
        worked_s = server.worked_s() - before
        if answer.seconds < _WORK_S or (worked_s < _WORK_S and answer.seconds < _WAIT_S):
            return answer
    pytest.fail(f"the server worked {worked_s:.3f} s, and answered after {answer.seconds:.3f} s: {answer}")


def assert_refused(server: Server, message: bytes, *statuses: int) -> RawAnswer:
    """Assert that bytes are refused, with one of some statuses or any 4xx, and return the answer.

    An answer to HEAD has no body, and every other is an error in the one shape.
    """
    answer = answered(server, message)
    head, _, body = answer.content.partition(b"\r\n\r\n")
    assert 400 <= answer.status < 500, answer
    assert not statuses or answer.status in statuses, answer
    told = fields(head)
    assert told["content-type"] == "application/json"
    assert told["x-request-id"]
    assert told.items() >= {name.decode(): value.decode() for name, value in SECURITY_HEADERS}.items()
    if message.startswith(b"HEAD "):
        assert body == b""
        return answer
    assert int(told["content-length"]) == len(body)
    error = json.loads(body)
    assert error["status"] == "error"
    assert error["message"]
    assert error.keys() <= {"status", "message", "details"}
    assert all(each.keys() == {"in", "pointer", "message"} for each in error.get("details", []))
    return answer
