"""Rate limits: requests above a limit are refused, exactly, and other accounts and addresses are not affected."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from itertools import count
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
import redis
from redis.crc import key_slot
from starlette.testclient import TestClient

from promo_api.antifraud.verdict_cache import verdict_key
from promo_api.app import create_app
from promo_api.config.settings import Settings
from promo_api.config.values import Rate
from promo_api.dev.processes import wait_until
from promo_api.errors import TooManyRequests
from promo_api.runtime import Runtime
from promo_api.security.passwords import Passwords
from promo_api.security.rate_limit_counter import Counter, RateLimit
from promo_api.security.rate_limits import ACTIVATIONS, LIKES, RateLimits
from tests.accounts import PASSWORD, Account, Api, company_body, new_email, promo_body, user_body
from tests.metric_delta import MetricDelta
from tests.race.interleaving import together

_WRONG = "Wr0ng!word"
_numbers = count(1)
Make = Callable[..., Api]


@pytest.fixture
def make_api(settings: Settings, runtime: Runtime) -> Iterator[Make]:
    """Creates the APIs of other processes with changed limits, behind a proxy that sends client addresses."""
    assert runtime.database
    with ExitStack() as stack:

        def make_api(**changes: Any) -> Api:
            opened = Runtime.open(replace(settings, client_address_header="X-Real-IP", **changes))
            return Api(stack.enter_context(TestClient(create_app(opened), raise_server_exceptions=False)))

        yield make_api


def _address() -> str:
    """Return a client address that no test has used."""
    number = next(_numbers)
    return f"10.1.{number // 256}.{number % 256}"


def _sign_in(api: Api, email: str, password: str, address: str = "", kind: str = "user") -> Any:
    headers = {"X-Real-IP": address or _address()}
    body = {"email": email, "password": password}
    return api.call("POST", f"/{kind}/auth/sign-in", json=body, headers=headers)


def _assert_refused(response: Any, limit: str, times: int, period_s: int) -> None:
    assert response.status_code == 429
    wait_s = int(response.headers["Retry-After"])
    assert 0 < wait_s <= period_s
    assert response.headers["RateLimit-Policy"] == f'"{limit}";q={times};w={period_s}'
    assert response.headers["RateLimit"] == f'"{limit}";r=0;t={wait_s}'


@pytest.mark.parametrize("known", [True, False], ids=["account", "no account"])
def test_failed_sign_ins_of_an_account(make_api: Make, known: bool) -> None:
    """Failed sign-ins to an e-mail address are limited on all processes, whether or not the account exists.

    An account of the other kind has its own limit. The case of the address does not matter.
    """
    api, other = make_api(failed_sign_ins_per_account=Rate(3, 60)), make_api(failed_sign_ins_per_account=Rate(3, 60))
    email = api.sign_up_user().body["email"] if known else new_email()
    company = api.sign_up_company(email=email)
    assert [_sign_in(each, email, _WRONG).status_code for each in (api, other, api)] == [401] * 3
    delta = MetricDelta()
    for each, address, password in ((api, email, _WRONG), (other, email.upper(), PASSWORD)):
        _assert_refused(_sign_in(each, address, password), "failed-sign-ins-per-account", 3, 60)
    assert delta("promo_rate_limit_refusals_total", limit="failed-sign-ins-per-account") == 2
    assert _sign_in(api, company.body["email"], PASSWORD, kind="business").status_code == 200


def test_successful_sign_ins_do_not_count(make_api: Make) -> None:
    """Successful sign-ins do not use up the limit of failed ones, neither of the account nor of the address."""
    api, address = (
        make_api(failed_sign_ins_per_account=Rate(2, 60), failed_sign_ins_per_address=Rate(3, 60)),
        _address(),
    )
    email = api.sign_up_user().body["email"]
    passwords = [PASSWORD] * 5 + [_WRONG] + [PASSWORD] * 5 + [_WRONG]
    assert [_sign_in(api, email, password, address).status_code for password in passwords] == [200] * 5 + [401] + [
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
def test_failed_sign_ins_from_an_address(
    make_api: Make, cache: "redis.Redis", same: tuple[str, ...], other: str
) -> None:
    """Failed sign-ins to many accounts are limited per client address; other addresses are not affected."""
    cache.flushdb()
    api = make_api(failed_sign_ins_per_address=Rate(4, 60))
    responses = [_sign_in(api, new_email(), _WRONG, address) for address in same * 2]
    assert [response.status_code for response in responses] == [401] * 4
    email = api.sign_up_user().body["email"]
    for address in same:
        _assert_refused(_sign_in(api, email, PASSWORD, address), "failed-sign-ins-per-address", 4, 60)
    assert _sign_in(api, email, PASSWORD, other).status_code == 200


@pytest.mark.parametrize(("kind", "body"), [("business", company_body), ("user", user_body)])
def test_sign_ups(make_api: Make, kind: str, body: Callable[[], dict[str, Any]]) -> None:
    """Sign-ups are limited per address. A taken e-mail address counts, an invalid body does not."""
    api, headers = make_api(sign_ups_per_address=Rate(3, 60)), {"X-Real-IP": _address()}
    path, taken = f"/{kind}/auth/sign-up", body()
    bodies = [taken, {}, taken, {}, body(), body()]
    responses = [api.call("POST", path, json=each, headers=headers) for each in bodies]
    assert [response.status_code for response in responses] == [200, 400, 409, 400, 200, 429]
    _assert_refused(responses[-1], "sign-ups-per-address", 3, 60)
    assert api.call("POST", path, json=bodies[-1], headers={"X-Real-IP": _address()}).status_code == 200


def _activation(api: Api) -> tuple[Account, Account, str]:
    company = api.sign_up_company()
    return api.sign_up_user(), api.sign_up_user(), f"/user/promo/{company.create_promo()}/activate"


def test_activations(make_api: Make) -> None:
    """Activations are limited per user. Failed attempts count; a replay with the same idempotency key does not."""
    api = make_api(activations_per_user=Rate(3, 60))
    user, other, path = _activation(api)
    keyed = {"Idempotency-Key": "once"}
    responses = [user.post(path, headers=keyed) for _ in range(4)]
    responses += [user.post("/user/promo/5e1f0a52-6f0b-4d3c-9a55-6f6f0c7f2b11/activate"), user.post(path)]
    assert [response.status_code for response in responses] == [200] * 4 + [404, 200]
    _assert_refused(user.post(path), "activations-per-user", 3, 60)
    assert user.post(path, headers=keyed).status_code == 200
    assert other.post(path).status_code == 200
    assert user.get("/user/promo/history").headers["X-Total-Count"] == "2"


@pytest.mark.parametrize("times", [100, 1_000_000, 0], ids=["low limit", "high limit", "off"])
def test_one_round_trip(
    make_api: Make, cached_verdict: Callable[[Account], None], sent_to_redis: list[str], times: int
) -> None:
    """One command to Redis counts an activation and reads the cached verdict, at any limit."""
    api = make_api(activations_per_user=Rate(times, 60))
    user, _, path = _activation(api)
    cached_verdict(user)
    user.post(path)  # loads the script
    sent_to_redis.clear()
    assert user.post(path).status_code == 200
    assert sent_to_redis == ["EVALSHA"]


def test_keys_of_a_user_share_a_slot() -> None:
    """In a Redis Cluster one script can count an activation and read the verdict: both keys are in one hash slot."""
    user_id = uuid4()
    counter = Counter(RateLimit(ACTIVATIONS, 1, 60), str(user_id))
    assert key_slot(counter.key.encode()) == key_slot(verdict_key(user_id).encode())


def test_limits_of_accounts(make_api: Make) -> None:
    """Likes, comments, reports, promos, codes and new keys of an account count; replays and other accounts do not."""
    few = Rate(3, 60)
    limits = (
        "likes_per_user",
        "comments_per_user",
        "reports_per_user",
        "promos_per_company",
        "idempotency_keys_per_account",
    )
    api = make_api(**dict.fromkeys(limits, few), codes_per_company=Rate(5, 60))
    company, other, user = api.sign_up_company(), api.sign_up_company(), api.sign_up_user()
    unique = promo_body(promo_unique=["abc", "abd"])
    promo_ids = [company.create_promo(), company.create_promo(promo_unique=["abc", "abd", "abe"])]
    _assert_refused(
        company.post("/business/promo", json=promo_body(promo_unique=["one", "two", "six"])), "codes-per-company", 5, 60
    )
    _assert_refused(company.post("/business/promo", json=promo_body()), "promos-per-company", 3, 60)
    assert other.post("/business/promo", json=unique).status_code == 201
    like, comments = f"/user/promo/{promo_ids[0]}/like", f"/user/promo/{promo_ids[0]}/comments"
    assert [user.post(like).status_code, user.delete(like).status_code, user.post(like).status_code] == [200] * 3
    _assert_refused(user.delete(like), "likes-per-user", 3, 60)
    text = {"text": "long enough to be one"}
    assert [user.post(comments, json=text).status_code for _ in range(3)] == [201] * 3
    _assert_refused(user.post(comments, json=text), "comments-per-user", 3, 60)
    report = f"{comments}/{uuid4()}/report"
    assert [user.post(report, json={"reason": "spam"}).status_code for _ in range(3)] == [404] * 3
    _assert_refused(user.post(report, json={"reason": "spam"}), "reports-per-user", 3, 60)
    activate = f"/user/promo/{promo_ids[0]}/activate"
    keys = [{"Idempotency-Key": name} for name in ("a", "b", "a", "c", "d")]
    responses = [user.post(activate, headers=headers) for headers in keys]
    assert [response.status_code for response in responses] == [200] * 4 + [429]
    _assert_refused(responses[-1], "idempotency-keys-per-account", 3, 60)


def test_successful_sign_ins(make_api: Make) -> None:
    """Successful sign-ins to an account are limited too; a refused sign-in leaves the latest token valid."""
    api = make_api(sign_ins_per_account=Rate(2, 60))
    user = api.sign_up_user()
    tokens = [_sign_in(api, user.email, PASSWORD).json()["token"] for _ in range(2)]
    _assert_refused(_sign_in(api, user.email, PASSWORD), "sign-ins-per-account", 2, 60)
    assert replace(user, token=tokens[-1]).get("/user/profile").status_code == 200
    assert _sign_in(api, api.sign_up_user().email, PASSWORD).status_code == 200


def test_password_changes(make_api: Make) -> None:
    """Changes of the password are limited; other changes of the profile are not."""
    api = make_api(password_changes_per_user=Rate(2, 60))
    user = api.sign_up_user()
    assert [user.patch("/user/profile", json={"password": PASSWORD}).status_code for _ in range(2)] == [200, 200]
    _assert_refused(user.patch("/user/profile", json={"password": PASSWORD}), "password-changes-per-user", 2, 60)
    assert user.patch("/user/profile", json={"name": "Other"}).status_code == 200


def _count_passed(count: Callable[[], object], tries: int) -> int:
    """Return how many of the tries are not refused."""
    passed = 0
    for _ in range(tries):
        with suppress(TooManyRequests):
            count()
            passed += 1
    return passed


@pytest.mark.parametrize("times", [5, 1000])
def test_limit_of_activations_is_exact(settings: Settings, times: int) -> None:
    """Of concurrent activations in two processes exactly the limit passes; other users are not refused."""
    user_id, other_id = uuid4(), uuid4()
    limited = replace(settings, activations_per_user=Rate(times, 600))
    with closing(RateLimits(limited)) as one, closing(RateLimits(limited)) as another:
        attempts = [
            partial(_count_passed, partial(process.count_activation, user_id), times // 2)
            for process in (one, another)
            for _ in range(4)
        ]
        assert sum(together(attempts)) == times
        assert _count_passed(partial(another.count_activation, other_id), 3) == 3


def test_high_limit_of_likes(settings: Settings) -> None:
    """Each process exceeds a limit that it counts in steps by less than 1 %, and passes nothing once it is exceeded."""
    user_id, other_id = uuid4(), uuid4()
    high = replace(settings, likes_per_user=Rate(1000, 600))
    with closing(RateLimits(high)) as one, closing(RateLimits(high)) as another:
        like_in_one, like_in_another = (partial(limits.count_for, LIKES, user_id) for limits in (one, another))
        passed = _count_passed(like_in_one, 600) + _count_passed(like_in_another, 600)
        assert 1000 <= passed < 1020
        assert _count_passed(like_in_one, 20) < 10
        assert _count_passed(like_in_one, 20) == _count_passed(like_in_another, 20) == 0
        assert _count_passed(partial(one.count_for, LIKES, other_id), 600) == 600


def test_steps_save_round_trips(settings: Settings, sent_to_redis: list[str]) -> None:
    """A worker sends 1 % of a high limit at once."""
    with closing(RateLimits(replace(settings, likes_per_user=Rate(1000, 600)))) as limits:
        limits.count_for(LIKES, user_id := uuid4(), 10)  # loads the script
        sent_to_redis.clear()
        for _ in range(30):
            limits.count_for(LIKES, user_id)
    assert sent_to_redis == ["EVALSHA"] * 3


def test_shorter_period_after_a_restart(settings: Settings) -> None:
    """Retry-After never exceeds the period, also if the window was started with a longer one."""
    user_id = uuid4()
    with closing(RateLimits(replace(settings, activations_per_user=Rate(1, 600)))) as before:
        before.count_activation(user_id)
    with closing(RateLimits(replace(settings, activations_per_user=Rate(1, 60)))) as after:
        with pytest.raises(TooManyRequests) as refused:
            after.count_activation(user_id)
        assert refused.value.retry_after_s == 60


def test_arrivals_are_counted_without_redis(settings: Settings) -> None:
    """A worker refuses activations above a user's limit on arrival, by its own count."""
    with closing(RateLimits(replace(settings, redis_port=1, activations_per_user=Rate(3, 60)))) as limits:
        user_id, other_id = uuid4(), uuid4()
        for _ in range(3):
            limits.count_arrival(ACTIVATIONS, user_id)
        with pytest.raises(TooManyRequests) as refused:
            limits.count_arrival(ACTIVATIONS, user_id)
        assert 0 < refused.value.retry_after_s <= 60
        limits.count_arrival(ACTIVATIONS, other_id)


def test_request_passes_after_retry_after(make_api: Make) -> None:
    """A request passes when the seconds of Retry-After are over, and not much earlier."""
    api = make_api(failed_sign_ins_per_account=Rate(2, 3))
    email = api.sign_up_user().body["email"]
    for _ in range(2):
        _sign_in(api, email, _WRONG)
    refused = _sign_in(api, email, PASSWORD)
    wait_s = int(refused.headers["Retry-After"])
    assert not wait_until(lambda: _sign_in(api, email, PASSWORD).status_code == 200, wait_s - 1.5)
    assert wait_until(lambda: _sign_in(api, email, PASSWORD).status_code == 200, 1.6)


def test_concurrent_guesses(make_api: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds for concurrent guesses. After it is reached, the right password is refused too."""
    apis = [make_api(failed_sign_ins_per_account=Rate(3, 60), argon2_concurrency=4) for _ in range(2)]
    email = apis[0].sign_up_user().body["email"]
    barrier, verify = Barrier(8), Passwords.verify
    statuses: list[int] = []

    def verify_together(self: Passwords, password_hash: str | None, password: str) -> bool:
        barrier.wait(20)
        matches = verify(self, password_hash, password)
        assert not matches or wait_until(lambda: len(statuses) == 7, 20)
        return matches

    def guess(number: int) -> None:
        statuses.append(_sign_in(apis[number % 2], email, _WRONG if number else PASSWORD).status_code)

    monkeypatch.setattr(Passwords, "verify", verify_together)
    together([partial(guess, number) for number in range(8)])
    assert sorted(statuses[:7]) == [401] * 3 + [429] * 4
    assert statuses[7] == 429


def test_without_redis(make_api: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Without Redis only activations are limited, by each worker, and each check logs a warning."""
    once = Rate(1, 60)
    api = make_api(
        redis_port=1,
        failed_sign_ins_per_account=once,
        failed_sign_ins_per_address=once,
        sign_ups_per_address=once,
        activations_per_user=Rate(3, 60),
    )
    delta, address = MetricDelta(), _address()
    user, _, path = _activation(api)
    email = user.body["email"]
    assert [_sign_in(api, email, _WRONG, address).status_code for _ in range(3)] == [401] * 3
    user = replace(user, token=_sign_in(api, email, PASSWORD, address).json()["token"])
    assert [user.post(path).status_code for _ in range(4)] == [200] * 3 + [429]
    # Three sign-ups, three checks for each of four sign-ins and one more for the successful one, three activations.
    assert delta("promo_rate_limits_unavailable_total") == 3 + 4 * 3 + 1 + 3
    warnings = [record for record in caplog.records if record.getMessage() == "rate_limits_unavailable"]
    assert len(warnings) == 19
    assert {vars(record)["reason"] for record in warnings} == {"ConnectionError"}


def test_keys_hold_no_personal_data(make_api: Make, cache: "redis.Redis") -> None:
    """Redis stores neither e-mail nor client addresses, and every counter expires."""
    cache.flushdb()
    api, address = make_api(), "203.0.113.77"
    email = api.sign_up_user().body["email"]
    _sign_in(api, email, _WRONG, address)
    keys = cache.keys("rate-limit:*")
    assert len(keys) == 3
    assert not [key for key in keys if email.encode() in key or address.encode() in key]
    assert all(0 < cache.ttl(key) <= 3600 for key in keys)


def test_counters_survive_key_rotation(make_api: Make, settings: Settings) -> None:
    """Processes with additional signing keys share the counters of failed sign-ins."""
    once, keys = Rate(1, 60), f"{settings.secret_key},{'another key ' * 3}"
    api, other = make_api(failed_sign_ins_per_account=once), make_api(failed_sign_ins_per_account=once, secret_key=keys)
    email = new_email()
    assert [_sign_in(each, email, _WRONG).status_code for each in (api, other)] == [401, 429]


def test_unknown_codes(make_api: Make) -> None:
    """After too many unknown codes every request of the company is refused; known codes do not count.

    Another worker learns that the limit is exceeded from its next unknown code.
    """
    api, other = (make_api(unknown_codes_per_company=Rate(3, 60)) for _ in range(2))
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(promo_unique=["one"])
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
    paths = ("/business/redemptions/validate", "/business/redemptions")
    for _ in range(5):
        assert company.post(paths[0], json={"code": "one"}).json()["valid"]
    guesses = [company.post(paths[number % 2], json={"code": "guess"}).status_code for number in range(4)]
    assert guesses == [200, 409, 200, 429]
    in_other = Account(other, company.token, company.body, company.id)
    assert in_other.post(paths[0], json={"code": "one"}).json()["valid"]
    _assert_refused(in_other.post(paths[1], json={"code": "guess"}), "unknown-codes-per-company", 3, 60)
    for account in (company, in_other):
        for path in paths:
            _assert_refused(account.post(path, json={"code": "one"}), "unknown-codes-per-company", 3, 60)
