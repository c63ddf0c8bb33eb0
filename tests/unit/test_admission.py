"""Admission: the source of a request, how many requests of a source run in parallel, and refusals on arrival."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from promo_api.admission import Admission, pool_limits
from promo_api.config.settings import Settings
from promo_api.config.values import Rate
from promo_api.contract.fair_queue import Source
from promo_api.contract.thread_pools import RequestInfo
from promo_api.errors import TooManyRequests
from promo_api.security.api_keys import KeyClaims
from promo_api.security.rate_limits import RateLimits
from promo_api.security.tokens import Claims

SETTINGS = Settings(
    antifraud_address="x",
    secret_key="x" * 32,
    redis_port=1,
    server_threads=8,
    activations_per_user=Rate(2, 60),
    password_changes_per_user=Rate(3, 60),
)
USER_ID = uuid4()
CLAIMS = Claims(USER_ID, "user", 1)


@pytest.fixture
def admission() -> Iterator[Admission]:
    """Admission without Redis."""
    with closing(RateLimits(SETTINGS)) as rate_limits:
        yield Admission(SETTINGS, rate_limits)


def _request(
    pool: str = "default", *, claims: Claims | KeyClaims | None = CLAIMS, is_valid: bool = True, **arguments: Any
) -> RequestInfo:
    return RequestInfo(pool, "any.operation", claims, "2001:db8:1:2::1", arguments, is_valid)


def test_account_takes_half_of_the_threads(admission: Admission) -> None:
    """Requests with a token take turns by account, not by client address."""
    assert admission(_request())[1] == Source(USER_ID, None, 4)


def test_client_address_without_a_token(admission: Admission) -> None:
    """Requests without a token take turns by client address."""
    assert admission(_request(claims=None))[1] == Source("2001:db8:1:2::/64", None, 4)


def test_api_keys(admission: Admission) -> None:
    """Requests with a key take turns by account, and by client address while the account of the key is not known."""
    known, unknown = KeyClaims(b"digest", USER_ID), KeyClaims(b"digest", None)
    assert admission(_request(claims=known))[1] == admission(_request())[1]
    assert admission(_request(claims=known, offset=1001))[1] == admission(_request(offset=1001))[1]
    for arguments in ({}, {"offset": 1001}):
        assert admission(_request(claims=unknown, **arguments))[1] == Source("2001:db8:1:2::/64", None, 4)


def test_streams(admission: Admission) -> None:
    """Streams have their own threads, and an account takes a part of them; JSON runs in the default pool."""
    request = _request("streams")
    assert admission(request) == ("default", Source(USER_ID, None, 4))
    pool, source = admission(request._replace(is_streamed=True))
    assert (pool, source) == ("streams", Source(USER_ID, None, 2))
    assert pool_limits(SETTINGS)[pool].threads > 2 * source.at_once


def test_one_deep_page_at_a_time(admission: Admission) -> None:
    """An account reads one page at a large offset at a time, in addition to its other requests."""
    assert admission(_request(offset=1000))[1] == Source(USER_ID, None, 4)
    assert admission(_request(offset=1001))[1] == Source(("deep", USER_ID), None, 1)


@pytest.mark.parametrize(
    ("operation_id", "slow", "others"),
    [
        ("business_promos.list_promos", ("state", "mode", "q"), ("country", "sort_by", "limit", "cursor", "liked")),
        ("user_promos.list_feed", ("q", "company_id", "liked"), ("category", "active", "limit", "cursor", "state")),
        ("any.operation", (), ("state", "mode", "q", "company_id", "liked")),
    ],
)
def test_one_filtered_list_at_a_time(
    admission: Admission, operation_id: str, slow: tuple[str, ...], others: tuple[str, ...]
) -> None:
    """An account reads one list at a time whose filters make PostgreSQL read all matches; as with deep pages."""
    for name in slow:
        request = _request(**{name: "x", "limit": 10})._replace(operation_id=operation_id)
        assert admission(request)[1] == Source(("deep", USER_ID), None, 1)
    request = _request(**dict.fromkeys(others, "x"))._replace(operation_id=operation_id)
    assert admission(request)[1] == Source(USER_ID, None, 4)


def test_hashes_take_turns_by_address_and_account(admission: Admission) -> None:
    """Requests that need a hash take turns by client address, and behind it by account or e-mail address."""
    threads = pool_limits(SETTINGS)["passwords"].threads
    address = "2001:db8:1:2::/64"
    assert admission(_request("passwords"))[1] == Source(address, USER_ID, threads)
    sign_in = _request("passwords", claims=None, body={"email": "Ann@Example.com"})
    assert admission(sign_in)[1] == Source(address, "ann@example.com", threads)
    assert admission(_request("passwords", claims=None, is_valid=False))[1] == Source(address, "", threads)


def test_activations_run_one_at_a_time_and_count_on_arrival(admission: Admission) -> None:
    """A user's activations run one at a time. Beyond the limit they are refused before they wait for a thread."""
    assert admission(_request("antifraud"))[1] == Source(USER_ID, None, 1)
    assert admission(_request("antifraud"))[1] == Source(USER_ID, None, 1)
    with pytest.raises(TooManyRequests):
        admission(_request("antifraud"))


def test_password_changes_count_on_arrival(admission: Admission) -> None:
    """Password changes above the limit are refused before they wait for a hash; account deletions are not."""
    change = _request(body={"password": "x"})._replace(operation_id="user_profile.update_profile")
    assert [admission(change)[1].member for _ in range(3)] == [USER_ID] * 3
    with pytest.raises(TooManyRequests):
        admission(change)
    assert admission(_request("passwords", body={"password": "x"}))[1].member == USER_ID


def test_requests_that_do_not_count_on_arrival(admission: Admission) -> None:
    """A request that is not valid does not count; one with an Idempotency-Key may be a replay, and counts later."""
    for _ in range(5):
        admission(_request("antifraud", is_valid=False))
        admission(_request("antifraud", idempotency_key="a"))
    assert admission(_request("antifraud"))[1].group == USER_ID
