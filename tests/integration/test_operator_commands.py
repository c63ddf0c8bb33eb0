"""The commands of operators: reset-password and close-account."""

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from promo_api import operator_commands, stored_counts, sweeper
from promo_api.config.settings import Settings
from promo_api.operator_commands import close_account, reset_password
from promo_api.runtime import BUSINESS_CALENDAR, Runtime
from promo_api.webhook_sweepers import deleted_webhooks_sweeper
from tests.accounts import PASSWORD, Account, Api, company_body
from tests.integration.stored_webhooks import store_webhook

_PATHS = {"company": "/business", "user": "/user"}

_READ = {"company": "/business/promo", "user": "/user/profile"}
_KINDS = pytest.mark.parametrize("kind", ["company", "user"])
Capture = pytest.CaptureFixture[str]


def _sign_up(api: Api, kind: str, **changes: Any) -> Account:
    return api.sign_up_company(**changes) if kind == "company" else api.sign_up_user(**changes)


def _sign_in(account: Account, kind: str, password: str = PASSWORD) -> Any:
    body = {"email": account.email, "password": password}
    return account.api.call("POST", f"{_PATHS[kind]}/auth/sign-in", json=body)


def _events(runtime: Runtime, account: Account, kind: str) -> list[str]:
    claims = runtime.tokens.read(account.token, "company" if kind == "company" else "user")
    query = text("SELECT event FROM account_log WHERE account_id = :id ORDER BY id")
    with runtime.database.autocommit() as connection:
        return list(connection.scalars(query, {"id": claims.account_id}))


def _mismatches(runtime: Runtime) -> dict[str, int]:
    with runtime.database.autocommit() as connection:
        return {name: number for name, count in stored_counts.COUNTS.items() if (number := count(connection))}


@_KINDS
def test_reset(api: Api, runtime: Runtime, settings: Settings, capsys: Capture, kind: str) -> None:
    """The printed password replaces the old one, all tokens are revoked, and the audit log has the event."""
    account = _sign_up(api, kind)
    assert reset_password(settings, kind, account.email.upper()) == 0
    printed = capsys.readouterr()
    [password] = printed.out.splitlines()
    assert password not in printed.err
    refused = account.get(_READ[kind])
    assert (refused.status_code, refused.json()["code"]) == (401, "token_revoked")
    assert _sign_in(account, kind).status_code == 401
    account.token = _sign_in(account, kind, password).json()["token"]
    assert account.get(_READ[kind]).status_code == 200
    assert _events(runtime, account, kind) == ["signed_up", "password_reset", "signed_in"]


def test_reset_in_the_export(api: Api, settings: Settings, capsys: Capture) -> None:
    """The user sees in the export that an operator has reset the password."""
    user = api.sign_up_user()
    assert reset_password(settings, "user", user.email) == 0
    user.token = _sign_in(user, "user", capsys.readouterr().out.strip()).json()["token"]
    events = [event["event"] for event in user.get("/user/export").json()["events"]]
    assert events == ["signed_up", "password_reset", "signed_in"]


@_KINDS
def test_reset_of_one_kind(api: Api, settings: Settings, kind: str) -> None:
    """An account of the other kind with the same e-mail address keeps its password and its token."""
    other_kind = "user" if kind == "company" else "company"
    account = _sign_up(api, kind)
    other = _sign_up(api, other_kind, email=account.email)
    assert reset_password(settings, kind, account.email) == 0
    assert other.get(_READ[other_kind]).status_code == 200
    assert _sign_in(other, other_kind).status_code == 200


def test_reset_ends_a_lockout(api: Api, settings: Settings, capsys: Capture) -> None:
    """After too many failed sign-ins the new password is accepted at once."""
    user = api.sign_up_user()
    statuses = [_sign_in(user, "user", "Wr0ng&wrong").status_code for _ in range(30)]
    assert (statuses[-1], _sign_in(user, "user").status_code) == (429, 429)
    assert reset_password(settings, "user", user.email) == 0
    assert _sign_in(user, "user", capsys.readouterr().out.strip()).status_code == 200


def test_reset_without_redis(api: Api, settings: Settings, capsys: Capture) -> None:
    """Without Redis the password is reset, and the command says that a lockout may remain."""
    user = api.sign_up_user()
    assert reset_password(replace(settings, redis_port=1), "user", user.email) == 0
    printed = capsys.readouterr()
    assert "Redis is unavailable." in printed.err
    assert _sign_in(user, "user", printed.out.strip()).status_code == 200


@_KINDS
def test_unknown_account(settings: Settings, capsys: Capture, kind: str) -> None:
    """An e-mail address without an account is reported, and nothing is printed to standard output."""
    sentence = f"No {kind} has this e-mail address. Nothing was changed.\n"
    assert reset_password(settings, kind, "nobody@example.com") == 1
    assert capsys.readouterr() == ("", sentence)
    assert close_account(settings, kind, "nobody@example.com", is_confirmed=True) == 1
    assert capsys.readouterr() == ("", sentence)


def test_older_schema(api: Api, settings: Settings, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an older schema nothing is changed, and the command says what to run."""
    user = api.sign_up_user()
    monkeypatch.setattr(operator_commands, "newest_revision", lambda: "9999")
    assert reset_password(settings, "user", user.email) == 1
    assert capsys.readouterr().err.endswith("not 9999. Run python -m promo_api migrate.\n")
    assert user.get("/user/profile").status_code == 200


def test_close_user(api: Api, runtime: Runtime, settings: Settings, capsys: Capture, cache: Any) -> None:
    """A closed user is deleted as by `DELETE /user/profile`: no personal data are left, and the address is free."""
    promo_id, user = api.sign_up_company().create_promo(), api.sign_up_user()
    claims = runtime.tokens.read(user.token, "user")
    user.post(f"/user/promo/{promo_id}/activate", headers={"Idempotency-Key": str(uuid4())})
    comment_id = user.post(f"/user/promo/{promo_id}/comments", json={"text": "A last comment"}).json()["id"]
    assert close_account(settings, "user", user.email.upper(), is_confirmed=True) == 0
    assert capsys.readouterr().out.endswith("any more. The workers delete what late requests write.\n")
    assert user.get("/user/profile").json()["code"] == "account_deleted"
    assert _sign_in(user, "user").status_code == 401
    query = text("SELECT count(*) FROM users WHERE id = :id OR email = :email")
    with runtime.database.autocommit() as connection:
        assert connection.execute(query, {"id": claims.account_id, "email": user.email}).scalar_one() == 0
        newest = "SELECT event FROM account_log ORDER BY id DESC LIMIT 1"
        assert connection.exec_driver_sql(newest).scalar_one() == "closed"
    assert [key for key in cache.scan_iter() if str(claims.account_id).encode() in key] == []
    successor = api.sign_up_user(email=user.email)
    comment = successor.get(f"/user/promo/{promo_id}/comments/{comment_id}").json()
    assert comment["author"] == {"name": "Deleted", "surname": "user"}
    assert _mismatches(runtime) == {}


def _day(days: int) -> str:
    """Return a business day, some days from today."""
    return (datetime.now(BUSINESS_CALENDAR) + timedelta(days=days)).date().isoformat()


def _promos(company: Account) -> list[str]:
    """Create promos with all kinds of periods: none, running, in the future, over."""
    periods: list[dict[str, str]] = [
        {},
        {"active_from": _day(-5)},
        {"active_until": _day(5)},
        {"active_from": _day(0), "active_until": _day(9)},
        {"active_from": _day(9)},
        {"active_from": _day(-9), "active_until": _day(-5)},
    ]
    modes: list[dict[str, Any]] = [{}, {"promo_unique": ["one", "two", "three"]}]
    return [company.create_promo(**period, **mode) for period in periods for mode in modes]


def test_close_company(api: Api, runtime: Runtime, settings: Settings, capsys: Capture) -> None:
    """A closed company cannot sign in, its promos have ended, and users keep their codes."""
    company, user, other = api.sign_up_company(), api.sign_up_user(), api.sign_up_company()
    others = other.create_promo()
    promos = _promos(company)
    code = user.post(f"/user/promo/{promos[1]}/activate").json()["promo"]
    keys = [company.post("/business/keys", json={"name": "Shop", "scopes": ["read"]}).json() for _ in range(2)]
    assert company.delete(f"/business/keys/{keys[0]['id']}").status_code == 200
    assert close_account(settings, "company", company.email.upper(), is_confirmed=True) == 0
    assert capsys.readouterr().out.endswith("All its promos have ended, and its e-mail address is removed.\n")
    assert company.get("/business/promo").json()["code"] == "account_deleted"
    assert _sign_in(company, "company").status_code == 401
    for key in keys:
        refused = api.call("GET", "/business/promo", headers={"X-Api-Key": key["key"]})
        assert (refused.status_code, refused.json()["code"]) == (401, "key_invalid")
    shown = [user.get(f"/user/promo/{promo_id}").json() for promo_id in promos]
    assert {promo["active"] for promo in shown} == {False}
    assert {promo["active_until"] for promo in shown[:-2]} == {_day(-1), _day(-2)} & {shown[0]["active_until"]}
    assert {promo["active_until"] for promo in shown[-2:]} == {_day(-5)}, "these had ended before"
    activations = [user.post(f"/user/promo/{promo_id}/activate").json() for promo_id in promos]
    assert {response["code"] for response in activations} == {"promo_expired"}
    active = {promo["promo_id"] for promo in user.get("/user/feed?active=true&limit=100").json()}
    assert (active & set(promos), others in active) == (set(), True)
    assert [entry["code"] for entry in user.get("/user/activations").json()] == [code]
    events = ["signed_up", "key_created", "key_created", "key_revoked", "closed"]
    assert _events(runtime, company, "company") == events
    assert _mismatches(runtime) == {}
    successor = api.sign_up_company(email=company.email)
    assert successor.get("/business/promo").json() == []


def test_close_company_with_webhooks(api: Api, runtime: Runtime, settings: Settings) -> None:
    """The webhooks of a closed company are deleted, without a mail about them; others stay."""
    company, other = api.sign_up_company(), api.sign_up_company()
    disabled = {"enabled": False, "disabled_reason": "gone", "disabled_at": datetime.now(UTC)}
    webhooks = [
        store_webhook(runtime.database, UUID(company.id), **values)
        for values in ({}, {**disabled, "mail_due_at": datetime.now(UTC)})
    ]
    of_other = store_webhook(runtime.database, UUID(other.id))
    assert close_account(settings, "company", company.email, is_confirmed=True) == 0
    rows = [webhook.read() or {} for webhook in (*webhooks, of_other)]
    assert [(row["deleted_at"] is None, row["mail_due_at"]) for row in rows] == [*[(False, None)] * 2, (True, None)]
    sweeper = deleted_webhooks_sweeper(runtime.database)
    while sweeper.sweep():
        pass
    assert [webhook.read() is None for webhook in (*webhooks, of_other)] == [True, True, False]


def test_changes_of_ended_promos(api: Api, runtime: Runtime, settings: Settings) -> None:
    """The audit log has the end of each promo, and of those that had not begun also the new beginning."""
    company = api.sign_up_company()
    promos = [company.create_promo(), company.create_promo(active_from=_day(9))]
    assert close_account(settings, "company", company.email, is_confirmed=True) == 0
    query = text("SELECT changes FROM promo_changes WHERE promo_id = :promo AND event = 'changed'")
    with runtime.database.autocommit() as connection:
        [ended], [moved] = (connection.scalars(query, {"promo": promo_id}).all() for promo_id in promos)
    last_day = ended["active_until"]["to"]
    assert last_day < _day(0)
    assert ended == {"active_until": {"to": last_day}}
    assert moved == {"active_from": {"from": _day(9), "to": last_day}, "active_until": {"to": last_day}}


def test_interrupted_command(
    api: Api, runtime: Runtime, settings: Settings, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted command is reported, and a second one continues it. Until then the address is in use."""
    company = api.sign_up_company()
    promos = [company.create_promo() for _ in range(3)]
    original, calls = operator_commands.change_promo, []

    def change_promo(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(operator_commands, "change_promo", change_promo)
    monkeypatch.setattr(operator_commands, "_PROMOS", 2)
    assert close_account(settings, "company", company.email, is_confirmed=True) == 1
    assert capsys.readouterr().err == "The command was interrupted, and can be run again.\n"
    assert company.get("/business/promo").status_code == 401
    assert reset_password(settings, "company", company.email) == 1, "the company has no password any more"
    again = api.call("POST", "/business/auth/sign-up", json=company_body() | {"email": company.email})
    assert again.status_code == 409
    assert close_account(settings, "company", company.email, is_confirmed=True) == 0
    assert len(calls) == 4
    user = api.sign_up_user()
    assert {user.get(f"/user/promo/{promo_id}").json()["active"] for promo_id in promos} == {False}
    assert _events(runtime, company, "company") == ["signed_up", "closed"]
    assert api.sign_up_company(email=company.email).get("/business/promo").status_code == 200


def test_progress(api: Api, settings: Settings, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long command prints its progress."""
    monkeypatch.setattr(operator_commands, "_REPORT_EVERY_S", 0.0)
    # The background job of the API must not delete the rows first.
    monkeypatch.setattr(sweeper, "claim_account_deletion", lambda _connection: None)
    company, user = api.sign_up_company(), api.sign_up_user()
    promos = [company.create_promo() for _ in range(2)]
    for promo_id in promos:
        user.post(f"/user/promo/{promo_id}/like")
    assert close_account(settings, "user", user.email, is_confirmed=True) == 0
    assert "\n2 rows deleted or made anonymous\n" in capsys.readouterr().out
    assert close_account(settings, "company", company.email, is_confirmed=True) == 0
    assert "\n1 promos ended\n2 promos ended\n" in capsys.readouterr().out


class _Terminal(StringIO):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.mark.parametrize(
    ("stdin", "closes"),
    [(_Terminal("y\n"), True), (_Terminal("Yes\n"), True), (_Terminal("\n"), False), (_Terminal(""), False),
     (_Terminal("no\n"), False), (StringIO("y\n"), False)],
    ids=["y", "yes", "enter", "end", "no", "no terminal"],
)  # fmt: skip
@_KINDS
def test_confirmation(
    api: Api, settings: Settings, capsys: Capture, monkeypatch: pytest.MonkeyPatch, kind: str, stdin: StringIO,
    closes: bool,
) -> None:  # fmt: skip
    """Without --yes the command asks on a terminal, and anything but yes changes nothing. Without one it refuses."""
    account = _sign_up(api, kind)
    stdin.seek(0)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert close_account(settings, kind, account.email, is_confirmed=False) == int(not closes)
    assert account.get(_READ[kind]).status_code == (401 if closes else 200)
    assert capsys.readouterr().err.startswith("" if closes else "Nothing was changed.")
