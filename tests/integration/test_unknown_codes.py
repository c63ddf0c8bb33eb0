"""Rate limits of unknown codes: of one API key, and of its company."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from redis.crc import key_slot

from promo_api.config.settings import Settings
from promo_api.config.values import Rate
from promo_api.errors import TooManyRequests
from promo_api.security.rate_limits import RateLimits
from tests.accounts import Account, Api
from tests.integration.test_keys import call_with_key
from tests.integration.test_limits import Make, _assert_refused, make_api
from tests.key_matrix import create_key
from tests.race.interleaving import together

__all__ = ["make_api"]
MakeLimits = Callable[..., RateLimits]

_VALIDATE, _REDEEM = "/business/redemptions/validate", "/business/redemptions"
_OF_KEY, _OF_COMPANY = "unknown-codes-per-key", "unknown-codes-per-company"


@pytest.fixture
def make_limits(settings: Settings) -> Iterator[MakeLimits]:
    """Creates rate limits with changed settings, and closes them after the test."""
    with ExitStack() as stack:

        def make_limits(**changes: Any) -> RateLimits:
            return stack.enter_context(closing(RateLimits(replace(settings, **changes))))

        yield make_limits


def _validate(api: Api, key: str, code: str = "guess") -> Any:
    return call_with_key(api, key, "POST", _VALIDATE, json={"code": code})


def _company_with_code(api: Api) -> Account:
    """Return a company that has issued the code `one`."""
    company = api.sign_up_company()
    promo_id = company.create_promo(promo_unique=["one"])
    assert api.sign_up_user().post(f"/user/promo/{promo_id}/activate").status_code == 200
    return company


def test_limit_of_a_key(make_api: Make) -> None:
    """A key that tries too many unknown codes is refused on all processes; other keys and the token still work."""
    api, other_api = (make_api(unknown_codes_per_key=Rate(2, 60)) for _ in range(2))
    company = _company_with_code(api)
    key, other = create_key(company)["key"], create_key(company)["key"]
    assert [_validate(each, key).status_code for each in (api, other_api)] == [200, 200]
    for each in (api, other_api):
        _assert_refused(_validate(each, key), _OF_KEY, 2, 60)
        _assert_refused(call_with_key(each, key, "POST", _REDEEM, json={"code": "guess"}), _OF_KEY, 2, 60)
    assert _validate(api, other, "one").json()["valid"]
    assert company.post(_VALIDATE, json={"code": "one"}).json()["valid"]
    # This key has its own limit.
    assert [_validate(api, other).status_code for _ in range(3)] == [200, 200, 429]
    assert call_with_key(api, key).status_code == 200


def test_limit_of_a_company_over_all_keys(make_api: Make) -> None:
    """Unknown codes of all keys and of the token count for the company. Refused requests of a key do not."""
    api = make_api(unknown_codes_per_key=Rate(2, 60), unknown_codes_per_company=Rate(6, 60))
    company = _company_with_code(api)
    keys = [create_key(company)["key"] for _ in range(3)]
    for key in keys[:2]:
        assert [_validate(api, key).status_code for _ in range(5)] == [200, 200, 429, 429, 429]
    assert [company.post(_VALIDATE, json={"code": "guess"}).status_code for _ in range(2)] == [200, 200]
    _assert_refused(_validate(api, keys[2]), _OF_COMPANY, 6, 60)
    _assert_refused(company.post(_VALIDATE, json={"code": "guess"}), _OF_COMPANY, 6, 60)


def test_simultaneous_unknown_codes(make_limits: MakeLimits) -> None:
    """Simultaneous unknown codes of one key use up no more of the limit of its company than the key may try."""
    limits = make_limits(unknown_codes_per_key=Rate(3, 60), unknown_codes_per_company=Rate(5, 60))
    company, key, other = uuid4(), uuid4(), uuid4()

    def count(key_id: Any) -> str | None:
        try:
            limits.count_unknown_code(limits.unknown_codes(company, key_id))
        except TooManyRequests as error:
            return error.limit
        return None

    results = together([partial(count, key)] * 20)
    assert sorted(results, key=str) == [None] * 3 + [_OF_KEY] * 17
    assert [count(other) for _ in range(3)] == [None, None, _OF_COMPANY]


def test_one_round_trip(make_limits: MakeLimits, sent_to_redis: list[str]) -> None:
    """One command to Redis counts an unknown code for a key and its company, and known codes need none."""
    limits = make_limits()
    counters = limits.unknown_codes(uuid4(), uuid4())
    limits.count_unknown_code(counters)  # loads the script
    sent_to_redis.clear()
    limits.check_locally(counters)
    assert sent_to_redis == []
    limits.count_unknown_code(counters)
    assert sent_to_redis == ["EVALSHA"]


def test_counters_share_a_slot(make_limits: MakeLimits) -> None:
    """The counters of a key and its company are in one hash slot of a Redis Cluster, and each key has its own."""
    limits, company = make_limits(), uuid4()
    keys = [counter.key for _ in range(2) for counter in limits.unknown_codes(company, uuid4())]
    assert (len({*keys}), len({key_slot(key.encode()) for key in keys})) == (3, 1)


@pytest.mark.parametrize(("key", "company", "expected"), [(0, 2, _OF_COMPANY), (2, 0, _OF_KEY)])
def test_one_limit_is_off(make_limits: MakeLimits, key: int, company: int, expected: str) -> None:
    """With one of the limits off, the other counts."""
    limits = make_limits(unknown_codes_per_key=Rate(key, 60), unknown_codes_per_company=Rate(company, 60))
    counters = limits.unknown_codes(uuid4(), uuid4())
    for _ in range(2):
        limits.count_unknown_code(counters)
    for command in (limits.count_unknown_code, limits.check_locally):
        with pytest.raises(TooManyRequests) as caught:
            command(counters)
        assert caught.value.limit == expected
