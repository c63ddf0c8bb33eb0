"""When an activation calls the anti-fraud service, how often, and what the verdicts mean."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, Response, request
from starlette.testclient import TestClient
from werkzeug.serving import make_server

from promo_api.app import create_app
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.runtime import Runtime
from promo_api.telemetry.logs import JsonLines
from tests.accounts import Account, Api
from tests.antifraud_control import HOUR_MS, AntifraudControl

# Behaviours of the stub that give no valid response.
INVALID_RESPONSES: list[dict[str, Any]] = [
    *({"status": status} for status in (201, 202, 206, 301, 307, 400, 401, 403, 404, 429, 500, 502, 503)),
    *({"body": body} for body in ("", "yes", "not JSON {", "[]", "null", "true", '"ok"', "{}", '[{"ok": true}]')),
    *({"body": f'{{"ok": {ok}}}'} for ok in ('"true"', "1", "null", "[true]", "{}")),
    *({"body": f'{{"ok": true, "cache_until": {until}}}'} for until in ("5", "true", '"soon"', '""', "[]")),
    {"body": '{"ok": true, "cache_until": "2025-13-01T00:00:00.000"}'},
    # Out of the range of dates.
    {"body": '{"ok": true, "cache_until": "9999-12-31T23:59:59.999-01:00"}'},
    {"body": '{"ok": true, "cache_until": "0001-01-01T00:00:00.000+01:00"}'},
    {"disconnect": True},
]


@pytest.fixture
def another_process(settings: Settings) -> Iterator[Callable[..., Api]]:
    """Runs the API as another process would, with its own settings."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Api:
            app = create_app(Runtime.open(replace(settings, **changes)))
            return Api(stack.enter_context(TestClient(app, raise_server_exceptions=False)))

        yield start


def _activate(user: Account, promo_id: str, api: Api | None = None) -> int:
    response = (api or user.api).call("POST", f"/user/promo/{promo_id}/activate", token=user.token)
    return int(response.status_code)


def _used(company: Account, promo_id: str) -> Any:
    return company.get(f"/business/promo/{promo_id}").json()["used_count"]


def test_positive_verdict_takes_one_call(api: Api, antifraud_control: AntifraudControl) -> None:
    """A positive verdict allows the activation after one call."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    antifraud_control.set_behaviour(user, ok=True)
    assert (_activate(user, promo_id), antifraud_control.count_calls(user)) == (200, 1)


def test_negative_verdict_takes_one_call(api: Api, antifraud_control: AntifraudControl) -> None:
    """A negative verdict refuses the activation after one call, and takes neither a use nor a value."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(promo_unique=["only"])
    antifraud_control.set_behaviour(user, ok=False)
    assert (_activate(user, promo_id), antifraud_control.count_calls(user)) == (403, 1)
    assert _used(company, promo_id) == 0
    assert api.sign_up_user().post(f"/user/promo/{promo_id}/activate").json() == {"promo": "only"}


def test_denied_and_unavailable(
    api: Api, antifraud_control: AntifraudControl, another_process: Callable[..., Api]
) -> None:
    """A denial and a missing verdict have different codes and reasons; only the missing verdict has Retry-After."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    path = f"/user/promo/{promo_id}/activate"

    def refusal(server: Api) -> tuple[int, str, list[str], str | None]:
        response = server.call("POST", path, token=user.token)
        body = response.json()
        return response.status_code, body["code"], body["reasons"], response.headers.get("retry-after")

    antifraud_control.set_behaviour(user, ok=False)
    assert refusal(api) == (403, "antifraud_denied", ["blocked"], None)
    antifraud_control.set_behaviour(user, status=503)
    process = another_process(antifraud_breaker_failures=1, antifraud_breaker_cooldown_s=3600)
    assert refusal(process) == (403, "antifraud_unavailable", ["antifraud_unavailable"], "3600")
    antifraud_control.set_behaviour(user, ok=True)
    status, code, reasons, retry_after = refusal(process)
    assert (status, code, reasons) == (403, "antifraud_unavailable", ["antifraud_unavailable"])
    assert 3500 < int(retry_after or "") <= 3600
    assert refusal(another_process(antifraud_address="127.0.0.1:1")) == (
        *(403, "antifraud_unavailable", ["antifraud_unavailable"]),
        "1",
    )


def test_cached_denial_is_the_last_reason(api: Api, antifraud_control: AntifraudControl) -> None:
    """With a cached denial the reasons are again those of eligibility, `blocked` last."""
    user, company = api.sign_up_user(country="ru"), api.sign_up_company()
    antifraud_control.set_behaviour(user, ok=False, cache_ms=HOUR_MS)
    assert _activate(user, company.create_promo()) == 403
    promo_id = company.create_promo(target={"country": "fr"})
    response = user.post(f"/user/promo/{promo_id}/activate")
    assert (response.json()["code"], response.json()["reasons"]) == ("user_country", ["country", "blocked"])
    assert response.json()["reasons"] == user.get(f"/user/promo/{promo_id}/eligibility").json()["reasons"]
    assert antifraud_control.count_calls(user) == 1


def test_each_attempt_calls(api: Api, antifraud_control: AntifraudControl) -> None:
    """Without cache_until each attempt makes a call, and its verdict counts."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    statuses = []
    for ok in (True, False, True):
        antifraud_control.set_behaviour(user, ok=ok)
        statuses.append(_activate(user, promo_id))
    assert (statuses, antifraud_control.count_calls(user)) == ([200, 403, 200], 3)


@pytest.mark.parametrize("changes", [{"max_count": 0}, {"active_until": "2020-01-01"}, {"active_from": "2999-01-01"}])
@pytest.mark.parametrize("ok", [True, False])
def test_no_call_for_an_inactive_promo(
    api: Api, antifraud_control: AntifraudControl, changes: dict[str, Any], ok: bool
) -> None:
    """An inactive promo causes no call."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=ok)
    assert _activate(user, api.sign_up_company().create_promo(**changes)) == 403
    assert antifraud_control.count_calls(user) == 0


@pytest.mark.parametrize("target", [{"country": "fr"}, {"age_from": 31}, {"age_until": 29}])
def test_no_call_for_a_user_outside_the_target(
    api: Api, antifraud_control: AntifraudControl, target: dict[str, Any]
) -> None:
    """A promo that targets others causes no call."""
    user = api.sign_up_user(age=30, country="ru")
    assert _activate(user, api.sign_up_company().create_promo(target=target)) == 403
    assert antifraud_control.count_calls(user) == 0


def test_no_call_when_used_up(api: Api, antifraud_control: AntifraudControl) -> None:
    """A promo without values left causes no call."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo(promo_unique=["only"])
    assert [_activate(user, promo_id) for _ in range(2)] == [200, 403]
    assert antifraud_control.count_calls(user) == 1


def test_no_call_for_an_unknown_promo(api: Api, antifraud_control: AntifraudControl) -> None:
    """An unknown promo and an invalid id cause no call."""
    user = api.sign_up_user()
    assert [_activate(user, str(uuid4())), _activate(user, "no-id")] == [404, 400]
    assert antifraud_control.count_calls(user) == 0


@pytest.mark.parametrize("behaviour", INVALID_RESPONSES)
def test_invalid_response_is_retried_once(
    api: Api, antifraud_control: AntifraudControl, behaviour: dict[str, Any]
) -> None:
    """After an invalid response there is one retry. If it fails too, the activation is refused."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    antifraud_control.set_behaviour(user, **behaviour)
    assert (_activate(user, promo_id), antifraud_control.count_calls(user)) == (403, 2)
    assert _used(company, promo_id) == 0


@pytest.mark.parametrize("behaviour", [{"status": 500}, {"status": 404}, {"body": "{}"}, {"disconnect": True}])
@pytest.mark.parametrize(("ok", "status"), [(True, 200), (False, 403)])
def test_verdict_of_the_retry(
    api: Api, antifraud_control: AntifraudControl, behaviour: dict[str, Any], ok: bool, status: int
) -> None:
    """If the retry gets a valid response, its verdict counts."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    antifraud_control.set_behaviour(user, fail_next=1, ok=ok, **behaviour)
    assert (_activate(user, promo_id), antifraud_control.count_calls(user)) == (status, 2)


def test_failed_calls_are_not_cached(api: Api, antifraud_control: AntifraudControl) -> None:
    """After an attempt without a verdict, the next attempt makes a call and may succeed."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    antifraud_control.set_behaviour(user, fail_next=2)
    assert [_activate(user, promo_id) for _ in range(2)] == [403, 200]
    assert antifraud_control.count_calls(user) == 3


def test_late_responses(api: Api, antifraud_control: AntifraudControl, another_process: Callable[..., Api]) -> None:
    """A call that times out is retried once. If the retry times out too, the activation is refused."""
    other = another_process(antifraud_read_timeout_s=0.2)
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    antifraud_control.set_behaviour(user, delay_ms=30_000)
    assert (_activate(user, promo_id, other), antifraud_control.count_calls(user)) == (403, 2)


def test_one_late_response(api: Api, antifraud_control: AntifraudControl, another_process: Callable[..., Api]) -> None:
    """After a timeout the verdict of the retry counts."""
    other = another_process(antifraud_read_timeout_s=0.5)
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    antifraud_control.set_behaviour(user, delay_ms=30_000, fail_next=1)
    assert (_activate(user, promo_id, other), antifraud_control.count_calls(user)) == (200, 2)


def test_service_is_down(api: Api, another_process: Callable[..., Api]) -> None:
    """If the service refuses connections, the activation is refused with 403, not 500."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    other = another_process(antifraud_address=f"http://127.0.0.1:{port}")
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    assert _activate(user, promo_id, other) == 403


def test_call(api: Api, settings: Settings) -> None:
    """A call posts the e-mail address and the promo id as JSON. No database connection is held meanwhile."""
    calls: list[Any] = []
    service = Flask(__name__)

    @service.route("/<path:path>", methods=["GET", "POST", "PUT"])
    def validate(path: str) -> Response:
        pool = runtime.database.engine.pool
        # The sweepers hold a connection for a moment now and then.
        none_held = wait_until(lambda: pool.checkedout() == 0, 5)  # type: ignore[attr-defined]
        calls.append((request.method, path, request.mimetype, request.get_json(), none_held))
        return Response('{"ok": true}', mimetype="application/json")

    server = make_server("127.0.0.1", 0, service, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        runtime = Runtime.open(replace(settings, antifraud_address=f"http://127.0.0.1:{server.server_port}"))
        user, promo_id = api.sign_up_user(email=f"Ann.{uuid4().hex}@Example.com"), api.sign_up_company().create_promo()
        with TestClient(create_app(runtime), raise_server_exceptions=False) as client:
            assert _activate(user, promo_id, Api(client)) == 200
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    body = {"user_email": user.body["email"], "promo_id": promo_id}
    assert calls == [("POST", "api/validate", "application/json", body, True)]


def test_log_without_secrets(api: Api, antifraud_control: AntifraudControl, caplog: pytest.LogCaptureFixture) -> None:
    """A failed call logs a warning without the e-mail address, the value and the token."""
    user = api.sign_up_user()
    promo_id = api.sign_up_company().create_promo(promo_common="KEEP-THIS")
    antifraud_control.set_behaviour(user, fail_next=1)
    with caplog.at_level(logging.DEBUG):
        assert _activate(user, promo_id) == 200
    records = [record for record in caplog.records if record.name.startswith("promo_api")]
    # Request lines are logged asynchronously.
    assert [(record.levelname, record.getMessage()) for record in records if record.getMessage() != "request"] == [
        ("WARNING", "antifraud_no_response")
    ]
    log = caplog.text + "".join(JsonLines().format(record) for record in records)
    assert not any(secret in log for secret in (user.body["email"], "KEEP-THIS", user.token))
