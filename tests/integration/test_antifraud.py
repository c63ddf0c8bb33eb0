"""When the anti-fraud service is asked, how often, and what its answers mean for an activation."""

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
from tests.antifraud_control import AntifraudControl

# Behaviours of the stand-in that are no answer of the protocol's form.
NO_ANSWERS: list[dict[str, Any]] = [
    *({"status": status} for status in (201, 202, 206, 301, 307, 400, 401, 403, 404, 429, 500, 502, 503)),
    *({"body": body} for body in ("", "yes", "not JSON {", "[]", "null", "true", '"ok"', "{}", '[{"ok": true}]')),
    *({"body": f'{{"ok": {ok}}}'} for ok in ('"true"', "1", "null", "[true]", "{}")),
    *({"body": f'{{"ok": true, "cache_until": {until}}}'} for until in ("5", "true", '"soon"', '""', "[]")),
    {"body": '{"ok": true, "cache_until": "2025-13-01T00:00:00.000"}'},
    # Instants beyond the calendar.
    {"body": '{"ok": true, "cache_until": "9999-12-31T23:59:59.999-01:00"}'},
    {"body": '{"ok": true, "cache_until": "0001-01-01T00:00:00.000+01:00"}'},
    {"disconnect": True},
]


@pytest.fixture
def another_process(settings: Settings) -> Iterator[Callable[..., Api]]:
    """Makes the API as another process would run it, with settings of its own."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Api:
            app = create_app(Runtime.open(replace(settings, **changes)))
            return Api(stack.enter_context(TestClient(app, raise_server_exceptions=False)))

        yield start


def _activate(user: Account, promo_id: str, api: Api | None = None) -> int:
    answer = (api or user.api).call("POST", f"/user/promo/{promo_id}/activate", token=user.token)
    return int(answer.status_code)


def _used(company: Account, promo_id: str) -> Any:
    return company.get(f"/business/promo/{promo_id}").json()["used_count"]


def test_yes_is_asked_for_once(api: Api, antifraud_control: AntifraudControl) -> None:
    """A yes lets the user activate, after one call that is about them."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    antifraud_control.set_behaviour(user, ok=True)
    assert (_activate(user, promo_id), antifraud_control.count_calls(user)) == (200, 1)


def test_no_is_asked_for_once(api: Api, antifraud_control: AntifraudControl) -> None:
    """A no refuses, is not asked for again by the same attempt, and takes neither a use nor a value."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(promo_unique=["only"])
    antifraud_control.set_behaviour(user, ok=False)
    assert (_activate(user, promo_id), antifraud_control.count_calls(user)) == (403, 1)
    assert _used(company, promo_id) == 0
    assert api.sign_up_user().post(f"/user/promo/{promo_id}/activate").json() == {"promo": "only"}


def test_each_attempt_asks(api: Api, antifraud_control: AntifraudControl) -> None:
    """Without cache_until each attempt asks anew, and the answer of that moment counts."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    statuses = []
    for ok in (True, False, True):
        antifraud_control.set_behaviour(user, ok=ok)
        statuses.append(_activate(user, promo_id))
    assert (statuses, antifraud_control.count_calls(user)) == ([200, 403, 200], 3)


@pytest.mark.parametrize("changes", [{"max_count": 0}, {"active_until": "2020-01-01"}, {"active_from": "2999-01-01"}])
@pytest.mark.parametrize("ok", [True, False])
def test_not_asked_for_an_inactive_promo(
    api: Api, antifraud_control: AntifraudControl, changes: dict[str, Any], ok: bool
) -> None:
    """For a promo that is not active nobody is asked."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(user, ok=ok)
    assert _activate(user, api.sign_up_company().create_promo(**changes)) == 403
    assert antifraud_control.count_calls(user) == 0


@pytest.mark.parametrize("target", [{"country": "fr"}, {"age_from": 31}, {"age_until": 29}])
def test_not_asked_for_a_user_who_does_not_fit(
    api: Api, antifraud_control: AntifraudControl, target: dict[str, Any]
) -> None:
    """For a promo that targets others nobody is asked."""
    user = api.sign_up_user(age=30, country="ru")
    assert _activate(user, api.sign_up_company().create_promo(target=target)) == 403
    assert antifraud_control.count_calls(user) == 0


def test_not_asked_when_nothing_is_left(api: Api, antifraud_control: AntifraudControl) -> None:
    """For a promo whose values are gone nobody is asked."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo(promo_unique=["only"])
    assert [_activate(user, promo_id) for _ in range(2)] == [200, 403]
    assert antifraud_control.count_calls(user) == 1


def test_not_asked_for_no_promo(api: Api, antifraud_control: AntifraudControl) -> None:
    """For a promo that there is not, and for an id that is none, nobody is asked."""
    user = api.sign_up_user()
    assert [_activate(user, str(uuid4())), _activate(user, "no-id")] == [404, 400]
    assert antifraud_control.count_calls(user) == 0


@pytest.mark.parametrize("behaviour", NO_ANSWERS)
def test_no_answer_is_asked_for_twice(api: Api, antifraud_control: AntifraudControl, behaviour: dict[str, Any]) -> None:
    """What is no answer of the protocol's form is asked for once more, and not a third time; then it is a no."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    antifraud_control.set_behaviour(user, **behaviour)
    assert (_activate(user, promo_id), antifraud_control.count_calls(user)) == (403, 2)
    assert _used(company, promo_id) == 0


@pytest.mark.parametrize("behaviour", [{"status": 500}, {"status": 404}, {"body": "{}"}, {"disconnect": True}])
@pytest.mark.parametrize(("ok", "status"), [(True, 200), (False, 403)])
def test_second_answer_counts(
    api: Api, antifraud_control: AntifraudControl, behaviour: dict[str, Any], ok: bool, status: int
) -> None:
    """If the second call brings an answer, it is the verdict."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    antifraud_control.set_behaviour(user, fail_next=1, ok=ok, **behaviour)
    assert (_activate(user, promo_id), antifraud_control.count_calls(user)) == (status, 2)


def test_no_answer_is_not_remembered(api: Api, antifraud_control: AntifraudControl) -> None:
    """After an attempt without an answer the next one asks, and may succeed."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    antifraud_control.set_behaviour(user, fail_next=2)
    assert [_activate(user, promo_id) for _ in range(2)] == [403, 200]
    assert antifraud_control.count_calls(user) == 3


def test_late_answers(api: Api, antifraud_control: AntifraudControl, another_process: Callable[..., Api]) -> None:
    """An answer that comes too late is none: it is asked for once more, and then it is a no."""
    impatient = another_process(antifraud_read_timeout_s=0.2)
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    antifraud_control.set_behaviour(user, delay_ms=30_000)
    assert (_activate(user, promo_id, impatient), antifraud_control.count_calls(user)) == (403, 2)


def test_one_late_answer(api: Api, antifraud_control: AntifraudControl, another_process: Callable[..., Api]) -> None:
    """After one answer that came too late the second one counts."""
    impatient = another_process(antifraud_read_timeout_s=0.5)
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    antifraud_control.set_behaviour(user, delay_ms=30_000, fail_next=1)
    assert (_activate(user, promo_id, impatient), antifraud_control.count_calls(user)) == (200, 2)


def test_nobody_listens(api: Api, another_process: Callable[..., Api]) -> None:
    """If nothing listens at the address of the service, that is a no and not a failure."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    lonely = another_process(antifraud_address=f"http://127.0.0.1:{port}")
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    assert _activate(user, promo_id, lonely) == 403


def test_what_is_asked(api: Api, settings: Settings) -> None:
    """The question is a POST of e-mail and promo id as JSON, and no database connection is held while it is asked."""
    seen: list[Any] = []
    asked = Flask(__name__)

    @asked.route("/<path:path>", methods=["GET", "POST", "PUT"])
    def validate(path: str) -> Response:
        pool = runtime.database.engine.pool
        # The sweepers hold one for a moment now and then.
        none_held = wait_until(lambda: pool.checkedout() == 0, 5)  # type: ignore[attr-defined]
        seen.append((request.method, path, request.mimetype, request.get_json(), none_held))
        return Response('{"ok": true}', mimetype="application/json")

    server = make_server("127.0.0.1", 0, asked, threaded=True)
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
    question = {"user_email": user.body["email"], "promo_id": promo_id}
    assert seen == [("POST", "api/validate", "application/json", question, True)]


def test_log_without_secrets(api: Api, antifraud_control: AntifraudControl, caplog: pytest.LogCaptureFixture) -> None:
    """A service that does not answer is worth a warning, in which neither e-mail address nor value nor token stands."""
    user = api.sign_up_user()
    promo_id = api.sign_up_company().create_promo(promo_common="KEEP-THIS")
    antifraud_control.set_behaviour(user, fail_next=1)
    with caplog.at_level(logging.DEBUG):
        assert _activate(user, promo_id) == 200
    ours = [record for record in caplog.records if record.name.startswith("promo_api")]
    # The lines of requests come a moment later.
    assert [(record.levelname, record.getMessage()) for record in ours if record.getMessage() != "request"] == [
        ("WARNING", "antifraud_no_response")
    ]
    written = caplog.text + "".join(JsonLines().format(record) for record in ours)
    assert not any(secret in written for secret in (user.body["email"], "KEEP-THIS", user.token))
