"""Limits: what is tried too often is refused, to the one, and nobody else is."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from itertools import count
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from starlette.testclient import TestClient

from promo_api.app import create_app
from promo_api.errors import TooManyRequests
from promo_api.limits import ACTIVATIONS, Limits
from promo_api.passwords import Passwords
from promo_api.runtime import Runtime
from promo_api.sandbox.processes import wait_until
from promo_api.setting_values import Rate
from promo_api.settings import Settings
from tests.accounts import PASSWORD, Account, Api, company_body, new_email, promo_body, user_body
from tests.conformance import Conformance
from tests.metric_delta import Counting
from tests.race.interleaving import together

_WRONG = "Wr0ng!word"
_numbers = count(1)
Make = Callable[..., Api]


@pytest.fixture
def make(settings: Settings, runtime: Runtime, conformance: Conformance) -> Iterator[Make]:
    """Makes services as other processes would be, with limits of their own, behind a proxy that tells addresses.

    `runtime` is asked for since it brings the tables.
    """
    assert runtime.database
    with ExitStack() as stack:

        def make(**changes: Any) -> Api:
            opened = Runtime.open(replace(settings, client_address_header="X-Real-IP", **changes))
            return Api(stack.enter_context(TestClient(create_app(opened), raise_server_exceptions=False)), conformance)

        yield make


def _address() -> str:
    """Return a client address that no test has used."""
    number = next(_numbers)
    return f"10.1.{number // 256}.{number % 256}"


def _sign_in(api: Api, email: str, password: str, address: str = "", kind: str = "user") -> Any:
    headers = {"X-Real-IP": address or _address()}
    body = {"email": email, "password": password}
    return api.call("POST", f"/{kind}/auth/sign-in", json=body, headers=headers)


def _assert_told(answer: Any, limit: str, times: int, period_s: int) -> None:
    assert answer.status_code == 429
    wait_s = int(answer.headers["Retry-After"])
    assert 0 < wait_s <= period_s
    assert answer.headers["RateLimit-Policy"] == f'"{limit}";q={times};w={period_s}'
    assert answer.headers["RateLimit"] == f'"{limit}";r=0;t={wait_s}'


@pytest.mark.parametrize("known", [True, False], ids=["account", "no account"])
def test_failed_sign_ins_of_an_account(make: Make, known: bool) -> None:
    """After so many failures, from wherever, the account takes no password, on any process; nor does one that is none.

    An account of the other kind with the same address is another one, and case makes none.
    """
    api, other = make(failed_sign_ins_per_account=Rate(3, 60)), make(failed_sign_ins_per_account=Rate(3, 60))
    email = api.sign_up_user().body["email"] if known else new_email()
    company = api.sign_up_company(email=email)
    assert [_sign_in(each, email, _WRONG).status_code for each in (api, other, api)] == [401] * 3
    counted = Counting()
    for each, address, password in ((api, email, _WRONG), (other, email.upper(), PASSWORD)):
        _assert_told(_sign_in(each, address, password), "failed-sign-ins-per-account", 3, 60)
    assert counted("promo_limit_refusals_total", limit="failed-sign-ins-per-account") == 2
    assert _sign_in(api, company.body["email"], PASSWORD, kind="business").status_code == 200


def test_successful_sign_ins_do_not_count(make: Make) -> None:
    """However often people sign in, from one address, each may still fail as often as the limit says."""
    api, address = make(failed_sign_ins_per_account=Rate(2, 60), failed_sign_ins_per_address=Rate(3, 60)), _address()
    email = api.sign_up_user().body["email"]
    tries = [PASSWORD] * 5 + [_WRONG] + [PASSWORD] * 5 + [_WRONG]
    assert [_sign_in(api, email, password, address).status_code for password in tries] == [200] * 5 + [401] + [
        200
    ] * 5 + [401]
    assert _sign_in(api, email, PASSWORD, address).status_code == 429


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (("198.51.100.7", "::ffff:198.51.100.7"), "198.51.100.8"),
        (("2001:db8:1:2::1", "2001:DB8:1:2:ffff:ffff:ffff:ffff"), "2001:db8:1:3::1"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_failed_sign_ins_from_an_address(make: Make, cache: "redis.Redis", same: tuple[str, ...], other: str) -> None:
    """Who tries one password on many accounts is refused after so many failures, and nobody at another address is."""
    cache.flushdb()
    api = make(failed_sign_ins_per_address=Rate(4, 60))
    answers = [_sign_in(api, new_email(), _WRONG, address) for address in same * 2]
    assert [answer.status_code for answer in answers] == [401] * 4
    email = api.sign_up_user().body["email"]
    for address in same:
        _assert_told(_sign_in(api, email, PASSWORD, address), "failed-sign-ins-per-address", 4, 60)
    assert _sign_in(api, email, PASSWORD, other).status_code == 200


@pytest.mark.parametrize(("kind", "body"), [("business", company_body), ("user", user_body)])
def test_sign_ups(make: Make, kind: str, body: Callable[[], dict[str, Any]]) -> None:
    """Sign-ups from an address count, also those that fail; bodies that are none do not, nor do other addresses."""
    api, headers = make(sign_ups_per_address=Rate(3, 60)), {"X-Real-IP": _address()}
    path, taken = f"/{kind}/auth/sign-up", body()
    given = [taken, {}, taken, {}, body(), body()]
    answers = [api.call("POST", path, json=each, headers=headers) for each in given]
    assert [answer.status_code for answer in answers] == [200, 400, 409, 400, 200, 429]
    _assert_told(answers[-1], "sign-ups-per-address", 3, 60)
    assert api.call("POST", path, json=given[-1], headers={"X-Real-IP": _address()}).status_code == 200


def _activation(api: Api) -> tuple[Account, Account, str]:
    company = api.sign_up_company()
    return api.sign_up_user(), api.sign_up_user(), f"/user/promo/{company.create_promo()}/activate"


def test_activations(make: Make) -> None:
    """What a user tries to activate counts, also in vain; what is repeated by its key counts once; others do not."""
    api = make(activations_per_user=Rate(3, 60))
    user, other, path = _activation(api)
    keyed = {"Idempotency-Key": "once"}
    answers = [user.post(path, headers=keyed) for _ in range(4)]
    answers += [user.post("/user/promo/5e1f0a52-6f0b-4d3c-9a55-6f6f0c7f2b11/activate"), user.post(path)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [404, 200]
    _assert_told(user.post(path), "activations-per-user", 3, 60)
    assert user.post(path, headers=keyed).status_code == 200
    assert other.post(path).status_code == 200
    assert user.get("/user/promo/history").headers["X-Total-Count"] == "2"


def test_cost(make: Make, trust: Callable[[Account], None], sent_to_redis: list[str]) -> None:
    """An activation is counted by one command, of a high limit a hundredth at once; and by none if the limit is off."""
    for times, sent in ((100, ["EVALSHA", "GET"]), (1000, ["GET"]), (0, ["GET"])):
        api = make(activations_per_user=Rate(times, 60))
        user, _, path = _activation(api)
        trust(user)
        user.post(path)  # has Redis load the script, once and for all
        sent_to_redis.clear()
        assert user.post(path).status_code == 200
        assert sent_to_redis == sent


def test_limits_of_accounts(make: Make) -> None:
    """Likes, comments, promos, codes and new keys of an account count; replays and other accounts do not."""
    few = Rate(3, 60)
    limits = ("likes_per_user", "comments_per_user", "promos_per_company", "idempotency_keys_per_account")
    api = make(**dict.fromkeys(limits, few), codes_per_company=Rate(5, 60))
    company, other, user = api.sign_up_company(), api.sign_up_company(), api.sign_up_user()
    unique = promo_body(promo_unique=["abc", "abd"])
    promo_ids = [company.create_promo(), company.create_promo(promo_unique=["abc", "abd", "abe"])]
    _assert_told(
        company.post("/business/promo", json=promo_body(promo_unique=["one", "two", "six"])), "codes-per-company", 5, 60
    )
    _assert_told(company.post("/business/promo", json=promo_body()), "promos-per-company", 3, 60)
    assert other.post("/business/promo", json=unique).status_code == 201
    like, comments = f"/user/promo/{promo_ids[0]}/like", f"/user/promo/{promo_ids[0]}/comments"
    assert [user.post(like).status_code, user.delete(like).status_code, user.post(like).status_code] == [200] * 3
    _assert_told(user.delete(like), "likes-per-user", 3, 60)
    text = {"text": "long enough to be one"}
    assert [user.post(comments, json=text).status_code for _ in range(3)] == [201] * 3
    _assert_told(user.post(comments, json=text), "comments-per-user", 3, 60)
    activate = f"/user/promo/{promo_ids[0]}/activate"
    keys = [{"Idempotency-Key": name} for name in ("a", "b", "a", "c", "d")]
    answers = [user.post(activate, headers=headers) for headers in keys]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429]
    _assert_told(answers[-1], "idempotency-keys-per-account", 3, 60)


def test_successful_sign_ins(make: Make) -> None:
    """Successful sign-ins to an account are limited too; a refused sign-in leaves the latest token valid."""
    api = make(sign_ins_per_account=Rate(2, 60))
    user = api.sign_up_user()
    tokens = [_sign_in(api, user.email, PASSWORD).json()["token"] for _ in range(2)]
    _assert_told(_sign_in(api, user.email, PASSWORD), "sign-ins-per-account", 2, 60)
    assert replace(user, token=tokens[-1]).get("/user/profile").status_code == 200
    assert _sign_in(api, api.sign_up_user().email, PASSWORD).status_code == 200


def test_password_changes(make: Make) -> None:
    """Changes of the password are limited; other changes of the profile are not."""
    api = make(password_changes_per_user=Rate(2, 60))
    user = api.sign_up_user()
    assert [user.patch("/user/profile", json={"password": PASSWORD}).status_code for _ in range(2)] == [200, 200]
    _assert_told(user.patch("/user/profile", json={"password": PASSWORD}), "password-changes-per-user", 2, 60)
    assert user.patch("/user/profile", json={"name": "Other"}).status_code == 200


def _passed(limits: Limits, user_id: UUID, tries: int) -> int:
    """Return how many of so many activations are let through."""
    passed = 0
    for _ in range(tries):
        with suppress(TooManyRequests):
            limits.count_for(ACTIVATIONS, user_id)
            passed += 1
    return passed


def test_high_limit_of_activations(settings: Settings) -> None:
    """Of a limit of a thousand each process lets less than a hundredth more through, and nothing once it is spent."""
    user_id, other_id = uuid4(), uuid4()
    high = replace(settings, activations_per_user=Rate(1000, 600))
    with closing(Limits(high)) as one, closing(Limits(high)) as another:
        passed = _passed(one, user_id, 600) + _passed(another, user_id, 600)
        assert 1000 <= passed < 1020
        assert _passed(one, user_id, 20) < 10
        assert _passed(one, user_id, 20) == _passed(another, user_id, 20) == 0
        assert _passed(one, other_id, 600) == 600


def test_arrivals_are_counted_without_redis(settings: Settings) -> None:
    """A worker refuses activations above a user's limit on arrival, by its own count, until the period ends."""
    with closing(Limits(replace(settings, redis_port=1, activations_per_user=Rate(3, 60)))) as limits:
        user_id, other_id = uuid4(), uuid4()
        for _ in range(3):
            limits.count_arrival(ACTIVATIONS, user_id)
        with pytest.raises(TooManyRequests) as refused:
            limits.count_arrival(ACTIVATIONS, user_id)
        assert 0 < refused.value.retry_after_s <= 60
        limits.count_arrival(ACTIVATIONS, other_id)
        key = ACTIVATIONS, user_id
        limits._arrivals[key] = (limits._arrivals[key][0] - 60, 3)
        limits.count_arrival(ACTIVATIONS, user_id)


def test_again_after_retry_after(make: Make) -> None:
    """When the seconds of Retry-After are over the same is let through, and a good part of them was needed."""
    api = make(failed_sign_ins_per_account=Rate(2, 3))
    email = api.sign_up_user().body["email"]
    for _ in range(2):
        _sign_in(api, email, _WRONG)
    refused = _sign_in(api, email, PASSWORD)
    wait_s = int(refused.headers["Retry-After"])
    assert not wait_until(lambda: _sign_in(api, email, PASSWORD).status_code == 200, wait_s - 1.6)
    assert wait_until(lambda: _sign_in(api, email, PASSWORD).status_code == 200, 1.6)


def test_guesses_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many guesses that all begin before one has failed so many are answered as the limit says; and where so many
    have failed before the right one is told from them, it is refused too.
    """
    apis = [make(failed_sign_ins_per_account=Rate(3, 60), argon2_concurrency=4) for _ in range(2)]
    email = apis[0].sign_up_user().body["email"]
    begun, verify = Barrier(8), Passwords.verify
    told: list[int] = []

    def late(self: Passwords, password_hash: str | None, password: str) -> bool:
        begun.wait(20)
        right = verify(self, password_hash, password)
        assert not right or wait_until(lambda: len(told) == 7, 20)
        return right

    def guess(number: int) -> None:
        told.append(_sign_in(apis[number % 2], email, _WRONG if number else PASSWORD).status_code)

    monkeypatch.setattr(Passwords, "verify", late)
    together([partial(guess, number) for number in range(8)])
    assert sorted(told[:7]) == [401] * 3 + [429] * 4
    assert told[7] == 429


def test_without_redis(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Without Redis nothing is limited but the activations that one worker counts, and a warning is logged."""
    once = Rate(1, 60)
    api = make(
        redis_port=1,
        failed_sign_ins_per_account=once,
        failed_sign_ins_per_address=once,
        sign_ups_per_address=once,
        activations_per_user=Rate(3, 60),
    )
    counted, address = Counting(), _address()
    user, _, path = _activation(api)
    email = user.body["email"]
    assert [_sign_in(api, email, _WRONG, address).status_code for _ in range(3)] == [401] * 3
    user = replace(user, token=_sign_in(api, email, PASSWORD, address).json()["token"])
    assert [user.post(path).status_code for _ in range(4)] == [200] * 3 + [429]
    # Three sign-ups; three looks for each sign-in, and one more for the one that succeeds; three activations.
    assert counted("promo_limits_unavailable_total") == 3 + 4 * 3 + 1 + 3
    warned = [record for record in caplog.records if record.getMessage() == "limits_unavailable"]
    assert len(warned) == 19
    assert {vars(record)["reason"] for record in warned} == {"ConnectionError"}


def test_keys_tell_nothing(make: Make, cache: "redis.Redis") -> None:
    """Neither e-mail nor client addresses stand in Redis, and all that is counted goes by itself."""
    cache.flushdb()
    api, address = make(), "203.0.113.77"
    email = api.sign_up_user().body["email"]
    _sign_in(api, email, _WRONG, address)
    keys = cache.keys("limits:*")
    assert len(keys) == 3
    assert not [key for key in keys if email.encode() in key or address.encode() in key]
    assert all(0 < cache.ttl(key) <= 3600 for key in keys)


def test_further_keys(make: Make, settings: Settings) -> None:
    """What has failed counts also for a process that takes the tokens of a further key."""
    once, further = Rate(1, 60), f"{settings.secret_key},{'another key ' * 3}"
    api, other = make(failed_sign_ins_per_account=once), make(failed_sign_ins_per_account=once, secret_key=further)
    email = new_email()
    assert [_sign_in(each, email, _WRONG).status_code for each in (api, other)] == [401, 429]
