"""A verdict with cache_until holds for its user until then."""

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
    """Makes the API as another process would run it, or the same one after a restart."""
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
    answer = (api or user.api).call("POST", f"/user/promo/{promo_id}/activate", token=user.token)
    return int(answer.status_code)


def _key(runtime: Runtime, cache: "redis.Redis", user: Account) -> Any:
    """Return the key under which the one verdict about the user is kept."""
    claims = runtime.tokens.read(user.token, "user")
    assert claims is not None
    [key] = cache.keys(f"antifraud:*{claims.account_id}*")
    return key


def _until(text: str) -> int:
    """Return an instant of the protocol in milliseconds since 1970."""
    since = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)


@pytest.mark.parametrize(("ok", "status"), [(True, 200), (False, 403)])
def test_verdict_holds_on_any_promo(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], ok: bool, status: int
) -> None:
    """A verdict that holds, yes or no, is the answer for every promo, though the service would now say the other."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=ok, cache_ms=HOUR_MS)
    assert _activate(user, promos[0]) == status
    antifraud_control.set_behaviour(user, ok=not ok)
    assert [_activate(user, promo_id) for promo_id in (*promos, *promos)] == [status] * 4
    assert antifraud_control.count_calls(user) == 1


def test_verdict_is_about_one_user(api: Api, antifraud_control: AntifraudControl, promos: list[str]) -> None:
    """A verdict that holds for one user says nothing of another."""
    one, other = api.sign_up_user(), api.sign_up_user()
    antifraud_control.set_behaviour(one, ok=False, cache_ms=HOUR_MS)
    antifraud_control.set_behaviour(other, ok=True, cache_ms=HOUR_MS)
    assert [_activate(user, promos[0]) for user in (one, other, one, other)] == [403, 200, 403, 200]
    assert [antifraud_control.count_calls(user) for user in (one, other)] == [1, 1]


@pytest.mark.parametrize(("ok", "status"), [(True, 200), (False, 403)])
def test_verdict_is_shared_and_outlives_a_restart(
    api: Api,
    antifraud_control: AntifraudControl,
    promos: list[str],
    restarted: Callable[[], Api],
    ok: bool,
    status: int,
) -> None:
    """A verdict holds in every process, in one that is started later too."""
    user, before = api.sign_up_user(), restarted()
    antifraud_control.set_behaviour(user, ok=ok, cache_ms=HOUR_MS)
    assert _activate(user, promos[0], before) == status
    antifraud_control.set_behaviour(user, ok=not ok)
    assert [_activate(user, promos[0], process) for process in (api, restarted())] == [status, status]
    assert antifraud_control.count_calls(user) == 1


@pytest.mark.parametrize("until", ["2999-01-16T00:17:57.567", "2999-01-16T00:17:57.001", "2999-01-16T00:17:57"])
def test_verdict_is_kept_to_the_millisecond(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], runtime: Runtime, cache: "redis.Redis", until: str
) -> None:
    """What is kept ends at exactly cache_until, which is a time in UTC, and using it does not make it last longer."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, cache_until=until)
    _activate(user, promos[0])
    key = _key(runtime, cache, user)
    assert cache.pexpiretime(key) == _until(until)
    _activate(user, promos[1])
    assert cache.pexpiretime(key) == _until(until)


def test_after_its_time_the_service_is_asked(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], runtime: Runtime, cache: "redis.Redis"
) -> None:
    """Once a verdict has ended the next attempt asks, and what it is told counts."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=True, cache_ms=300)
    assert _activate(user, promos[0]) == 200
    key = _key(runtime, cache, user)
    antifraud_control.set_behaviour(user, ok=False)
    while cache.exists(key):
        pass
    assert (_activate(user, promos[0]), antifraud_control.count_calls(user)) == (403, 2)


@pytest.mark.parametrize("behaviour", [{"cache_until": "2020-01-01T00:00:00.000"}, {"cache_ms": -1}, {}])
def test_verdict_that_does_not_hold(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], behaviour: dict[str, Any]
) -> None:
    """A verdict with a cache_until that is over, or with none, counts for its attempt only."""
    user = api.sign_up_user()
    statuses = []
    for ok in (True, False, True):
        antifraud_control.set_behaviour(user, ok=ok, **behaviour)
        statuses.append(_activate(user, promos[0]))
    assert (statuses, antifraud_control.count_calls(user)) == ([200, 403, 200], 3)


def test_kept_yes_does_not_open_what_is_closed(
    api: Api, antifraud_control: AntifraudControl, promos: list[str]
) -> None:
    """A yes that holds says nothing against the other rules: activity, targeting and the last use."""
    company, user = api.sign_up_company(), api.sign_up_user(country="ru")
    antifraud_control.set_behaviour(user, ok=True, cache_ms=HOUR_MS)
    assert _activate(user, promos[0]) == 200
    inactive, foreign = company.create_promo(max_count=0), company.create_promo(target={"country": "fr"})
    last = company.create_promo(promo_unique=["only"])
    assert [_activate(user, promo_id) for promo_id in (inactive, foreign, last, last)] == [403, 403, 200, 403]


def test_kept_no_shows_only_after_the_cheap_checks(
    api: Api, antifraud_control: AntifraudControl, promos: list[str]
) -> None:
    """A no that holds does not hide that a promo does not exist."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=False, cache_ms=HOUR_MS)
    assert _activate(user, promos[0]) == 403
    assert _activate(user, "00000000-0000-4000-8000-000000000000") == 404


@pytest.mark.parametrize("value", [b"", b"maybe", b"true", b"\xff\x00", b'{"ok": true}', b"YES"])
def test_kept_value_that_can_not_be_read(
    api: Api,
    antifraud_control: AntifraudControl,
    promos: list[str],
    runtime: Runtime,
    cache: "redis.Redis",
    value: bytes,
) -> None:
    """A value in the cache that means nothing is as none: the service is asked, and its verdict is kept instead."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=True, cache_ms=HOUR_MS)
    _activate(user, promos[0])
    cache.set(_key(runtime, cache, user), value, px=HOUR_MS)
    antifraud_control.set_behaviour(user, ok=False, cache_ms=HOUR_MS)
    assert [_activate(user, promos[0]) for _ in range(2)] == [403, 403]
    assert antifraud_control.count_calls(user) == 2


def test_kept_value_of_another_type(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], runtime: Runtime, cache: "redis.Redis"
) -> None:
    """Neither does a value that is no text at all stand in the way."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=True, cache_ms=HOUR_MS)
    _activate(user, promos[0])
    key = _key(runtime, cache, user)
    cache.delete(key)
    cache.rpush(key, "yes")
    assert [_activate(user, promos[0]) for _ in range(2)] == [200, 200]
    assert antifraud_control.count_calls(user) == 2


def test_cache_does_not_hold_the_email_address(
    api: Api, antifraud_control: AntifraudControl, promos: list[str], runtime: Runtime, cache: "redis.Redis"
) -> None:
    """Neither key nor value of what is kept has the e-mail address in it."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=True, cache_ms=HOUR_MS)
    _activate(user, promos[0])
    key = _key(runtime, cache, user)
    assert user.body["email"].encode() not in key + cache.get(key)
