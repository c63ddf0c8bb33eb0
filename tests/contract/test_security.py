"""Security: a token is checked before anything else in a request."""

from pathlib import Path
from uuid import UUID

import pytest
from starlette.types import ASGIApp, Scope

from promo_api.contract.sender import Credentials, sender_of, set_credentials
from promo_api.runtime import Runtime
from promo_api.security.api_keys import KeyClaims
from promo_api.security.tokens import Claims, Kind
from tests.cases import all_cases
from tests.contract.asgi import JSON, Header, call
from tests.contract.sample_api import (
    GOOD_KEY,
    GOOD_TOKEN,
    REVOKED_KEY,
    REVOKED_TOKEN,
    contract,
    json_body,
    operation,
    query,
    serve,
)
from tests.operations import OPERATIONS, Operation

ID = "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63"
SECURED = [operation for operation in OPERATIONS if operation.account]


def bearer(token: str) -> Header:
    """Return the header of a token."""
    return ("authorization", f"Bearer {token}")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> ASGIApp:
    """An application with an operation that needs a token, one that needs none, and two that keys may call."""
    body = json_body({"type": "object", "additionalProperties": False})
    parameters = [query("n", {"type": "integer"})]
    secured = operation(security=[{"account": []}], parameters=parameters, requestBody=body)
    either = [{"account": []}, {"program": []}]
    by_scope = {
        scope: operation(function, security=either, parameters=parameters, requestBody=body, **{"x-key-scope": scope})
        for scope, function in (("read", "echo.show_client"), ("write", "echo.fail_too"))
    }
    paths = {
        "/secured": {"post": secured},
        "/open": {"get": operation("echo.show_too", parameters=parameters)},
        "/read": {"post": by_scope["read"]},
        "/write": {"post": by_scope["write"]},
    }
    return serve(tmp_path_factory.mktemp("security") / "api.yml", contract(paths))


def test_handler_gets_the_account(app: ASGIApp) -> None:
    """A secured operation's handler gets the account of the token, before its arguments."""
    response = call(app, "POST", "/api/secured?n=1", headers=[bearer(GOOD_TOKEN), JSON], body=b"{}")
    assert response.json()["principal"] == [f"account of {GOOD_TOKEN}"]
    assert response.json()["arguments"] == {"n": 1, "body": {}}


def test_write_of_an_account_is_reported(tmp_path: Path) -> None:
    """After a successful write of an account its account is reported; not after a read or a refused write."""
    accounts: list[object] = []
    handlers = {"get": "echo.show", "post": "echo.show_too", "put": "echo.fail"}
    methods = {method: operation(name, security=[{"account": []}]) for method, name in handlers.items()}
    app = serve(tmp_path / "api.yml", contract({"/x": methods}), after_write=accounts.append)
    statuses = [call(app, method.upper(), "/api/x", headers=[bearer(GOOD_TOKEN)]).status for method in methods]
    assert (statuses, accounts) == ([200, 200, 500], [f"account of {GOOD_TOKEN}"])


def test_open_operation_has_no_account(app: ASGIApp) -> None:
    """The handler of an open operation gets no account, and its token is ignored."""
    response = call(app, "GET", "/api/open", headers=[bearer("bad")])
    assert (response.status, response.json()["principal"]) == (200, [])


@all_cases(
    "headers",
    [
        [],
        [("authorization", "")],
        [("authorization", " ")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", GOOD_TOKEN)],
        [("authorization", f"Basic {GOOD_TOKEN}")],
        [("authorization", f"Bearer: {GOOD_TOKEN}")],
        [bearer("bad")],
        [bearer("\xff")],
        [bearer(REVOKED_TOKEN)],
        [bearer(GOOD_TOKEN), bearer(GOOD_TOKEN)],
        [bearer(GOOD_TOKEN), bearer("bad")],
        [("authorization", f"Basic x, Bearer {GOOD_TOKEN}")],
        [("x-authorization", f"Bearer {GOOD_TOKEN}")],
    ],
)
@all_cases("target", ["/api/secured", "/api/secured?n=x", "/api/secured?%FF"])
@all_cases("sent", [([JSON], b"{}"), ([JSON], b"no JSON"), ([("content-type", "text/plain")], b"x"), ([], None)])
def test_401_outranks_400(
    app: ASGIApp, headers: list[Header], target: str, sent: tuple[list[Header], bytes | None]
) -> None:
    """Without a valid token the response is 401, even if the request is invalid too."""
    response = call(app, "POST", target, headers=[*headers, *sent[0]], body=sent[1])
    assert (response.status, response.raised) == (401, None)
    assert response.header("www-authenticate") == "Bearer"
    assert response.json().keys() == {"status", "code", "message"}
    assert GOOD_TOKEN not in response.content.decode()


def key(value: str) -> Header:
    """Return the header of an API key."""
    return ("x-api-key", value)


@pytest.mark.parametrize("credentials", [bearer(GOOD_TOKEN), key(GOOD_KEY)], ids=["token", "key"])
def test_token_or_key(app: ASGIApp, credentials: Header) -> None:
    """An operation with both schemes takes a token or a key, and its handler gets the account of what was sent."""
    response = call(app, "POST", "/api/read?n=1", headers=[credentials, JSON], body=b"{}")
    assert response.json()["principal"] == [f"account of {credentials[1].removeprefix('Bearer ')}"]


@all_cases(
    ("headers", "code"),
    [
        ([], "token_missing"),
        ([("authorization", GOOD_TOKEN)], "token_missing"),
        ([bearer(GOOD_TOKEN), bearer(GOOD_TOKEN)], "token_missing"),
        ([bearer("bad")], "token_invalid"),
        ([bearer(GOOD_KEY.replace("good", "no"))], "token_invalid"),
        ([bearer(REVOKED_TOKEN)], "token_revoked"),
        ([key("")], "key_invalid"),
        ([key("bad")], "key_invalid"),
        ([key("\xff")], "key_invalid"),
        ([key(f"Bearer {GOOD_KEY}")], "key_invalid"),
        ([key(REVOKED_KEY)], "key_revoked"),
        ([key(GOOD_KEY), key(GOOD_KEY)], "credentials_ambiguous"),
        ([key(GOOD_KEY), key("bad")], "credentials_ambiguous"),
        ([key(GOOD_KEY), bearer(GOOD_TOKEN)], "credentials_ambiguous"),
        ([key(GOOD_KEY), bearer("bad")], "credentials_ambiguous"),
        ([key("bad"), bearer(GOOD_TOKEN)], "credentials_ambiguous"),
        ([("authorization", ""), key(GOOD_KEY)], "credentials_ambiguous"),
    ],
)
@all_cases("target", ["/api/read", "/api/read?n=x", "/api/write"])
@all_cases("body", [b"{}", b"no JSON"])
def test_refused_credentials(app: ASGIApp, headers: list[Header], code: str, target: str, body: bytes) -> None:
    """Without one valid token or one valid key the response is 401, also for requests with other errors."""
    response = call(app, "POST", target, headers=[*headers, JSON], body=body)
    assert (response.status, response.raised, response.json()["code"]) == (401, None, code)
    assert response.header("www-authenticate") == "Bearer"


@pytest.mark.parametrize("body", [b"{}", b"no JSON"])
def test_scope(app: ASGIApp, body: bytes) -> None:
    """A key without the scope of an operation is a 403, even if the request is invalid too. A token needs no scope."""
    refused = call(app, "POST", "/api/write?n=x", headers=[key(GOOD_KEY), JSON], body=body)
    assert (refused.status, refused.json()["code"]) == (403, "scope_missing")
    assert call(app, "POST", "/api/write?n=x", headers=[bearer(GOOD_TOKEN), JSON], body=body).status == 400


def test_key_where_no_key_is_declared(app: ASGIApp) -> None:
    """A key does not open an operation that needs a token, and other operations ignore it."""
    for headers, status in (([], 401), ([bearer(GOOD_TOKEN)], 200)):
        response = call(app, "POST", "/api/secured", headers=[key(GOOD_KEY), *headers, JSON], body=b"{}")
        assert response.status == status
    assert call(app, "GET", "/api/open", headers=[key("bad")]).status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_scheme_is_case_insensitive(app: ASGIApp, scheme: str) -> None:
    """The name of the scheme is case-insensitive."""
    response = call(
        app, "POST", "/api/secured", headers=[("authorization", f"{scheme} {GOOD_TOKEN}"), JSON], body=b"{}"
    )
    assert response.status == 200


@pytest.mark.parametrize(
    ("target", "headers", "body", "status"),
    [
        ("/api/secured?n=x", [JSON], b"{}", 400),
        ("/api/secured", [JSON], b"no JSON", 400),
        ("/api/secured", [], None, 400),
        ("/api/secured", [("content-type", "text/plain")], b"{}", 415),
        ("/api/secured", [JSON], b" " * (2 * 1024 * 1024 + 1), 413),
    ],
)
def test_invalid_request_with_a_valid_token(
    app: ASGIApp, target: str, headers: list[Header], body: bytes | None, status: int
) -> None:
    """With a valid token an invalid request gets the violations."""
    assert call(app, "POST", target, headers=[bearer(GOOD_TOKEN), *headers], body=body).status == status


@all_cases("operation", SECURED)
def test_every_secured_operation(service: ASGIApp, bare_runtime: Runtime, operation: Operation) -> None:
    """Each operation with a token refuses a missing token and one of the other kind, and looks up the account."""
    method = operation.method
    target = "/api" + operation.path.replace("{id}", ID).replace("{comment_id}", ID)
    kinds: list[Kind] = ["company", "user"]
    tokens: dict[str, str] = {kind: bare_runtime.tokens.issue(Claims(UUID(ID), kind, 1)) for kind in kinds}
    own = tokens.pop(operation.account)
    (others,) = tokens.values()
    assert call(service, method, target).status == 401
    assert call(service, method, target, headers=[bearer(others)]).status == 401
    assert call(service, method, target, headers=[bearer(own)]).status == 503


@pytest.mark.parametrize("target", ["/api/user/feed?limit=x", "/api/user/promo/x", "/api/user/feed?nosuch=1"])
def test_no_400_before_the_token_is_confirmed(service: ASGIApp, bare_runtime: Runtime, target: str) -> None:
    """An invalid request gets no 400 while the database cannot confirm the token."""
    token = bare_runtime.tokens.issue(Claims(UUID(ID), "user", 1))
    assert call(service, "GET", target, headers=[bearer(token)]).status == 503


def test_no_handler_runs_with_a_revoked_token(tmp_path: Path) -> None:
    """A handler does not run with a revoked token."""
    app = serve(tmp_path / "api.yml", contract({"/x": {"get": operation("echo.fail", security=[{"account": []}])}}))
    assert call(app, "GET", "/api/x", headers=[bearer(REVOKED_TOKEN)]).status == 401
    assert call(app, "GET", "/api/x", headers=[bearer(GOOD_TOKEN)]).status == 500


@pytest.mark.parametrize(
    ("claims", "sender"),
    [
        (None, "192.0.2.1"),
        ("claims", "claims"),
        (Claims(UUID(ID), "company", 1), UUID(ID)),
        (KeyClaims(b"digest", UUID(ID)), UUID(ID)),
        (KeyClaims(b"digest", None), "192.0.2.1"),
    ],
)
def test_sender(claims: object, sender: object) -> None:
    """Memory for bodies is shared by account, and by client address while no account is known."""
    scope: Scope = {"type": "http", "client": ("192.0.2.1", 80), "extensions": {}}
    if claims is not None:
        set_credentials(scope, Credentials("key", claims, lambda: None))
    assert sender_of(scope) == sender
