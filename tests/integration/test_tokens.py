"""Which tokens the secured operations of api.yml accept, and the errors for the others."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import jwt
import pytest
from sqlalchemy import delete

from persistence.schema.tables import addresses, companies, users
from promo_api.config.settings import Settings
from promo_api.runtime import Runtime
from promo_api.security.tokens import Claims, Kind, Tokens
from tests.accounts import PASSWORD, Account, Api, company_body, promo_body, user_body
from tests.cases import all_cases
from tests.operations import OPERATIONS

# Method, path and kind of account of each operation that needs a token.
SECURED = [(each.method, each.path, cast("Kind", each.account)) for each in OPERATIONS if each.account]
PROFILE = "/user/profile"


def _path(template: str) -> str:
    return template.replace("{id}", str(uuid4())).replace("{comment_id}", str(uuid4()))


def _sign_up(api: Api, kind: Kind) -> Account:
    return api.sign_up_company() if kind == "company" else api.sign_up_user()


def _sign_in(api: Api, account: Account, kind: Kind) -> Any:
    path = f"/{'business' if kind == 'company' else 'user'}/auth/sign-in"
    return api.call("POST", path, json={"email": account.body["email"], "password": PASSWORD}).json()["token"]


def _claims(runtime: Runtime, account: Account, kind: Kind) -> Claims:
    return runtime.tokens.read(account.token, kind)


def _delete(runtime: Runtime, account: Account, kind: Kind) -> None:
    """Delete the row of the account, and its e-mail address, which the consistency checks of other tests would find."""
    table = companies if kind == "company" else users
    row = delete(table).where(table.c.email == account.body["email"]).returning(table.c.id)
    with runtime.database.engine.begin() as connection:
        account_id = connection.execute(row).scalar_one()
        assert connection.execute(delete(addresses).where(addresses.c.account_id == account_id)).rowcount == 1


def _assert_refused(response: Any, code: str) -> None:
    refusal = (response.status_code, response.headers["www-authenticate"], response.json()["code"])
    assert refusal == (401, "Bearer", code)


def _payload(settings: Settings, user: Account) -> dict[str, Any]:
    options: Any = {"verify_aud": False}
    return jwt.decode(user.token, settings.secret_key, algorithms=["HS256"], options=options)


@all_cases(("method", "template", "kind"), SECURED)
def test_no_token(api: Api, method: str, template: str, kind: Kind) -> None:
    """Without a token each operation responds 401, before it validates path or body."""
    del kind
    for path in (_path(template), template.replace("{id}", "no-id").replace("{comment_id}", "no-id") + "?no=1"):
        _assert_refused(api.call(method, path), "token_missing")


@all_cases(("method", "template", "kind"), SECURED)
def test_token_of_the_other_kind(api: Api, method: str, template: str, kind: Kind) -> None:
    """A company's token opens no operation of users, and vice versa."""
    other = _sign_up(api, "user" if kind == "company" else "company")
    _assert_refused(api.call(method, _path(template), token=other.token), "token_wrong_kind")


@all_cases(("method", "template", "kind"), SECURED)
def test_revoked_token(api: Api, method: str, template: str, kind: Kind) -> None:
    """A revoked token is reported before any error in path, query or body."""
    account = _sign_up(api, kind)
    _sign_in(api, account, kind)
    requests: list[tuple[str, dict[str, Any]]] = [
        (_path(template), {}),
        (template.replace("{id}", "no-id").replace("{comment_id}", "no-id") + "?no=1", {}),
    ]
    if method in ("POST", "PATCH", "PUT"):
        invalid = ({"json": {"no": 1}}, {"content": b"{", "headers": {"Content-Type": "text/plain"}})
        requests += [(_path(template), request) for request in invalid]
    for path, request in requests:
        _assert_refused(api.call(method, path, token=account.token, **request), "token_revoked")


@pytest.mark.parametrize("path", ["/business/promo", PROFILE])
def test_revoked_token_and_a_huge_body(api: Api, path: str) -> None:
    """Without a valid token the response does not depend on the size of the body."""
    kind: Kind = "user" if path == PROFILE else "company"
    account = _sign_up(api, kind)
    token = _sign_in(api, account, kind)
    method, content = ("PATCH" if path == PROFILE else "POST"), b" " * (3 * 2**20)
    responses = [api.call(method, path, token=each, content=content) for each in (account.token, None, token)]
    assert [response.status_code for response in responses] == [401, 401, 413]


@all_cases(("method", "template", "kind"), SECURED)
def test_token_of_a_deleted_account(api: Api, runtime: Runtime, method: str, template: str, kind: Kind) -> None:
    """A token of a deleted account is refused."""
    account = _sign_up(api, kind)
    _delete(runtime, account, kind)
    _assert_refused(api.call(method, _path(template), token=account.token), "account_deleted")


@all_cases(("method", "template", "kind"), SECURED)
def test_expired_token(api: Api, runtime: Runtime, settings: Settings, method: str, template: str, kind: Kind) -> None:
    """An expired token is refused."""
    expired = Tokens(settings.secret_keys, lifetime_h=0).issue(_claims(runtime, _sign_up(api, kind), kind))
    _assert_refused(api.call(method, _path(template), token=expired), "token_expired")


def test_token_lifetime(api: Api, settings: Settings) -> None:
    """Tokens of a sign-up and a sign-in expire after TOKEN_LIFETIME_H."""
    user = api.sign_up_user()
    for token in (user.token, _sign_in(api, user, "user")):
        payload = _payload(settings, Account(api, token, {}))
        assert payload["exp"] - payload["iat"] == settings.token_lifetime_h * 3600
        assert abs(datetime.now(UTC) - datetime.fromtimestamp(payload["iat"], UTC)) < timedelta(seconds=30)


def test_tokens_are_short_and_without_secrets(api: Api, settings: Settings) -> None:
    """A token has at most 300 characters and does not hold the e-mail address."""
    for account in (api.sign_up_user(), api.sign_up_company()):
        assert len(account.token) <= 300
        assert account.body["email"] not in str(_payload(settings, account))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_scheme_in_any_case(api: Api, scheme: str) -> None:
    """The authentication scheme is accepted in any case, as HTTP requires."""
    user = api.sign_up_user()
    response = api.call("GET", PROFILE, headers={"Authorization": f"{scheme} {user.token}"})
    assert response.json()["email"] == user.body["email"]


@all_cases(
    "header",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "{token}",
        "Basic {token}",
        "Basic YTpi",
        "Token {token}",
        "Bearer{token}",
        "Bearer: {token}",
        "Bearer {token} x",
        "Bearer {token},{token}",
        'Bearer "{token}"',
        "Bearer {token}x",
        "Bearer x{token}",
        "Bearer x.y.z",
        "Bearer null",
        "Bearer {token}.",
        "Bearer ..",
        "Bearer " + "x" * 301,
        "Bearer " + "x." * 5000,
    ],
)
def test_malformed_header(api: Api, header: str) -> None:
    """Another scheme, no scheme, no token, or extra characters are refused."""
    response = api.call("GET", PROFILE, headers={"Authorization": header.format(token=api.sign_up_user().token)})
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


def test_header_that_is_not_ascii(api: Api) -> None:
    """A header with bytes outside ASCII is refused."""
    response = api.call("GET", PROFILE, headers={b"Authorization": "Bearer \xe9\u20ac".encode()})
    assert response.status_code == 401


def test_two_headers(api: Api) -> None:
    """Two Authorization headers are refused, in either order and even if they are the same."""
    one, other = api.sign_up_user(), api.sign_up_user()
    for pair in ((one.token, one.token), (one.token, other.token), (one.token, "x"), ("x", one.token)):
        headers = [("Authorization", f"Bearer {token}") for token in pair]
        response = api.client.request("GET", f"/api{PROFILE}", headers=headers)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.json()["status"] == "error"


@pytest.mark.parametrize("place", ["query", "cookie"])
def test_token_outside_the_header(api: Api, place: str) -> None:
    """A token is accepted only in the Authorization header."""
    token = api.sign_up_user().token
    where: Any = {"params": {"access_token": token}} if place == "query" else {"headers": {"Cookie": f"token={token}"}}
    assert api.call("GET", PROFILE, **where).status_code == 401


@all_cases(
    "changes",
    [
        {"exp": None},
        {"exp": "never"},
        {"aud": None},
        {"aud": "company"},
        {"aud": ["user", "company"]},
        {"aud": ["user"]},
        {"sub": None},
        {"sub": "no-id"},
        {"sub": "c3a8e5f4-17d2-4b60-9f8c-5d0e6b2a7c91"},
        {"ver": None},
        {"ver": "x"},
        {"ver": 0},
        {"ver": 2},
        {"iat": None},
    ],
)
def test_token_with_other_claims(api: Api, settings: Settings, changes: dict[str, Any]) -> None:
    """A correctly signed token with missing or different claims is refused."""
    payload = _payload(settings, api.sign_up_user()) | changes
    token = jwt.encode({name: value for name, value in payload.items() if value is not None}, settings.secret_key)
    assert api.call("GET", PROFILE, token=token).status_code == 401


@pytest.mark.parametrize(("key", "algorithm"), [("another key for tests " * 3, "HS256"), ("", "none"), (None, "HS384")])
def test_token_of_another_signature(api: Api, settings: Settings, key: str | None, algorithm: str) -> None:
    """A token signed with another key, with another algorithm or not at all is refused."""
    payload = _payload(settings, api.sign_up_user())
    token = jwt.encode(payload, settings.secret_key if key is None else key, algorithm)
    assert api.call("GET", PROFILE, token=token).status_code == 401


def test_operations_without_security_ignore_tokens(api: Api) -> None:
    """An invalid token does not affect operations that need none."""
    assert api.call("GET", "/ping", token="none").json() == {"status": "ok"}
    assert api.call("POST", "/business/auth/sign-up", token="none", json=company_body()).status_code == 200
    assert api.call("POST", "/user/auth/sign-up", token="none", json=user_body()).status_code == 200


def test_refused_request_changes_nothing(api: Api) -> None:
    """A request with a revoked token has no effect."""
    company = api.sign_up_company()
    token = _sign_in(api, company, "company")
    assert company.post("/business/promo", json=promo_body()).status_code == 401
    assert api.call("GET", "/business/promo", token=token).headers["x-total-count"] == "0"
