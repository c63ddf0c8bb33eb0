"""Requests for reset mails on a real server: neither time nor content reveals whether an account exists."""

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from random import Random
from time import perf_counter
from typing import Any

import pytest

from tests.accounts import new_email
from tests.e2e.server import Server

# 1,000 requests for known addresses and 1,000 for unknown ones, four for each address: five are allowed.
_ADDRESSES, _REQUESTS = 250, 4
# The deviation of the rank statistic from 1/2: five standard deviations. A mail that is sent in the request shows; for
# single statements see integration/test_password_resets.py.
_NOISE = 0.07
_HEADERS = {"Content-Type": "application/json"}
_CHANGING = ("date", "x-request-id")


@pytest.fixture
def connection(server: Server) -> Iterator[HTTPConnection]:
    """A connection to one worker of the server."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        yield connection


def _post(connection: HTTPConnection, path: str, body: Any) -> tuple[float, Any]:
    """Return the duration of a request in seconds, and the status, headers and body of the response."""
    began_s = perf_counter()
    connection.request("POST", f"/api{path}", json.dumps(body), _HEADERS)
    response = connection.getresponse()
    content = response.read()
    duration_s = perf_counter() - began_s
    headers = [(name, value) for name, value in response.getheaders() if name.lower() not in _CHANGING]
    return duration_s, (response.status, headers, content)


def _rank_statistic(first: list[float], second: list[float]) -> float:
    """Return the probability that a value of `first` is above one of `second` (Mann-Whitney); 1/2: no difference."""
    ranked = sorted([(value, True) for value in first] + [(value, False) for value in second])
    ranks = sum(rank for rank, (_, is_first) in enumerate(ranked, 1) if is_first)
    return (ranks / len(first) - (len(first) + 1) / 2) / len(second)


@pytest.mark.parametrize("kind", ["business", "user"])
def test_forgotten_passwords(server: Server, connection: HTTPConnection, kind: str) -> None:
    """In 1,000 pairs of requests, those for known addresses take as long and have the same responses."""
    sign_up = server.accounts.sign_up_company if kind == "business" else server.accounts.sign_up_user
    known = [sign_up().email for _ in range(_ADDRESSES)]
    unknown = [new_email() for _ in range(_ADDRESSES)]
    random = Random(1)  # noqa: S311 not a secret
    durations_s: dict[bool, list[float]] = {True: [], False: []}
    responses = set()
    for known_email, unknown_email in list(zip(known, unknown, strict=True)) * _REQUESTS:
        pair = [(True, known_email), (False, unknown_email)]
        random.shuffle(pair)
        for is_known, email in pair:
            duration_s, response = _post(connection, f"/{kind}/auth/forgot-password", {"email": email})
            durations_s[is_known].append(duration_s)
            responses.add(repr(response))
    server.remote.secrets.update(known + unknown)
    assert len(responses) == 1, responses
    assert responses.pop().startswith("(200, ")
    statistic = _rank_statistic(durations_s[True], durations_s[False])
    assert abs(statistic - 0.5) < _NOISE
