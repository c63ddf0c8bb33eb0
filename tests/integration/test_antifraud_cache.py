"""The verdict cache: a verdict with cache_until applies to its user until then."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from promo_api.app import create_app
from promo_api.config.settings import Settings
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.antifraud_control import AntifraudControl

HOUR_MS = 3_600_000


@pytest.fixture
def restarted(settings: Settings) -> Iterator[Callable[[], Api]]:
    """Runs the API as another process would, or as this process would after a restart."""
    with ExitStack() as stack:

        def start() -> Api:
            app = create_app(Runtime.open(settings))
            return Api(stack.enter_context(TestClient(app, raise_server_exceptions=False)))

        yield start


@pytest.fixture
def promos(api: Api) -> list[str]:
    """Two promos of two companies."""
    return [api.sign_up_company().create_promo() for _ in range(2)]


def _activate(user: Account, promo_id: str, api: Api | None = None) -> int:
    response = (api or user.api).call("POST", f"/user/promo/{promo_id}/activate", token=user.token)
    return int(response.status_code)


def _key(runtime: Runtime, cache: "redis.Redis", user: Account) -> Any:
    """Return the key of the cached verdict about the user."""
    claims = runtime.tokens.read(user.token, "user")
    [key] = cache.keys(f"antifraud:*{claims.account_id}*")
    return key


def _until(text: str) -> int:
    """Return the milliseconds since 1970 of a cache_until."""
    since = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)


@pytest.mark.parametrize(("ok", "status"), [(True, 200), (False, 403)])
def test_verdict_applies_to_all_promos(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], ok: bool, status: int
) -> None:
    """A cached verdict applies to every promo, even if the service would now return the opposite."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=ok, cache_ms=HOUR_MS)
    assert _activate(user, promos[0]) == status
    antifraud_control.set_behaviour(user, ok=not ok)
    assert [_activate(user, promo_id) for promo_id in (*promos, *promos)] == [status] * 4
    assert antifraud_control.count_calls(user) == 1


def test_verdict_applies_to_one_user(api: Api, antifraud_control: AntifraudControl, promos: list[str]) -> None:
    """The cached verdict of one user does not apply to another."""
    one, other = api.sign_up_user(), api.sign_up_user()
    antifraud_control.set_behaviour(one, ok=False, cache_ms=HOUR_MS)
    antifraud_control.set_behaviour(other, ok=True, cache_ms=HOUR_MS)
    assert [_activate(user, promos[0]) for user in (one, other, one, other)] == [403, 200, 403, 200]
    assert [antifraud_control.count_calls(user) for user in (one, other)] == [1, 1]


@pytest.mark.parametrize(("ok", "status"), [(True, 200), (False, 403)])
def test_verdict_is_shared_between_processes(
    api: Api,
    antifraud_control: AntifraudControl,
    promos: list[str],
    restarted: Callable[[], Api],
    ok: bool,
    status: int,
) -> None:
    """A cached verdict applies in every process, also in one that starts later."""
    user, before = api.sign_up_user(), restarted()
    antifraud_control.set_behaviour(user, ok=ok, cache_ms=HOUR_MS)
    assert _activate(user, promos[0], before) == status
    antifraud_control.set_behaviour(user, ok=not ok)
    assert [_activate(user, promos[0], process) for process in (api, restarted())] == [status, status]
    assert antifraud_control.count_calls(user) == 1


@pytest.mark.parametrize("until", ["2999-01-16T00:17:57.567", "2999-01-16T00:17:57.001", "2999-01-16T00:17:57"])
def test_verdict_expires_to_the_millisecond(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], runtime: Runtime, cache: "redis.Redis", until: str
) -> None:
    """A cached verdict expires exactly at cache_until, in UTC. Using it does not extend it."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, cache_until=until)
    _activate(user, promos[0])
    key = _key(runtime, cache, user)
    assert cache.pexpiretime(key) == _until(until)
    _activate(user, promos[1])
    assert cache.pexpiretime(key) == _until(until)


def test_expired_verdict(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], runtime: Runtime, cache: "redis.Redis"
) -> None:
    """After a verdict has expired, the next attempt calls the service, and the new verdict counts."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=True, cache_ms=300)
    assert _activate(user, promos[0]) == 200
    key = _key(runtime, cache, user)
    antifraud_control.set_behaviour(user, ok=False)
    while cache.exists(key):
        pass
    assert (_activate(user, promos[0]), antifraud_control.count_calls(user)) == (403, 2)


@pytest.mark.parametrize("behaviour", [{"cache_until": "2020-01-01T00:00:00.000"}, {"cache_ms": -1}, {}])
def test_verdict_without_a_future_cache_until(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], behaviour: dict[str, Any]
) -> None:
    """A verdict with a past cache_until, or without one, counts for its attempt only."""
    user = api.sign_up_user()
    statuses = []
    for ok in (True, False, True):
        antifraud_control.set_behaviour(user, ok=ok, **behaviour)
        statuses.append(_activate(user, promos[0]))
    assert (statuses, antifraud_control.count_calls(user)) == ([200, 403, 200], 3)


def test_cached_approval_does_not_override_other_rules(
    api: Api, antifraud_control: AntifraudControl, promos: list[str]
) -> None:
    """A cached positive verdict does not override the period, the target and the use limit."""
    company, user = api.sign_up_company(), api.sign_up_user(country="ru")
    antifraud_control.set_behaviour(user, ok=True, cache_ms=HOUR_MS)
    assert _activate(user, promos[0]) == 200
    inactive, foreign = company.create_promo(max_count=0), company.create_promo(target={"country": "fr"})
    last = company.create_promo(promo_unique=["only"])
    assert [_activate(user, promo_id) for promo_id in (inactive, foreign, last, last)] == [403, 403, 200, 403]


def test_unknown_promo_with_a_cached_refusal(api: Api, antifraud_control: AntifraudControl, promos: list[str]) -> None:
    """With a cached negative verdict an unknown promo is still a 404."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=False, cache_ms=HOUR_MS)
    assert _activate(user, promos[0]) == 403
    assert _activate(user, "00000000-0000-4000-8000-000000000000") == 404


@pytest.mark.parametrize("value", [b"", b"maybe", b"true", b"\xff\x00", b'{"ok": true}', b"YES"])
def test_invalid_value_in_the_cache(
    api: Api,
    antifraud_control: AntifraudControl,
    promos: list[str],
    runtime: Runtime,
    cache: "redis.Redis",
    value: bytes,
) -> None:
    """An invalid value in the cache counts as missing: the service is called, and its verdict replaces the value."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=True, cache_ms=HOUR_MS)
    _activate(user, promos[0])
    cache.set(_key(runtime, cache, user), value, px=HOUR_MS)
    antifraud_control.set_behaviour(user, ok=False, cache_ms=HOUR_MS)
    assert [_activate(user, promos[0]) for _ in range(2)] == [403, 403]
    assert antifraud_control.count_calls(user) == 2


def test_value_of_another_type_in_the_cache(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], runtime: Runtime, cache: "redis.Redis"
) -> None:
    """A value of another Redis type counts as missing."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=True, cache_ms=HOUR_MS)
    _activate(user, promos[0])
    key = _key(runtime, cache, user)
    cache.delete(key)
    cache.rpush(key, "yes")
    assert [_activate(user, promos[0]) for _ in range(2)] == [200, 200]
    assert antifraud_control.count_calls(user) == 2


def test_cache_has_no_email_address(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], runtime: Runtime, cache: "redis.Redis"
) -> None:
    """Neither the key nor the value of a cached verdict contains the e-mail address."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=True, cache_ms=HOUR_MS)
    _activate(user, promos[0])
    key = _key(runtime, cache, user)
    assert user.body["email"].encode() not in key + cache.get(key)
