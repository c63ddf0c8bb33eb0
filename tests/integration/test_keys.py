"""API keys of companies: creation, use, expiry and revocation."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from persistence.accounts.api_keys import update_last_use
from persistence.accounts.companies import close_company
from promo_api.dev.processes import wait_until
from promo_api.key_authentication import store_key_uses
from promo_api.runtime import Runtime
from promo_api.specification import MAX_KEYS
from tests.accounts import Api
from tests.conftest import Clock
from tests.key_matrix import create_key


def call_with_key(api: Api, key: str, method: str = "GET", path: str = "/business/promo", **request: Any) -> Any:
    """Send a request with an API key."""
    headers = {"X-Api-Key": key, **request.pop("headers", {})}
    return api.call(method, path, headers=headers, **request)


def _outcome(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_creation(api: Api) -> None:
    """A new key is returned once, and listed by its first characters."""
    company = api.sign_up_company()
    first = create_key(company, name="First", scopes=["read"])
    second = create_key(company, name="Second", expires_at="2099-01-31T12:00:00+03:00")
    listed = company.get("/business/keys").json()
    assert [each["name"] for each in listed] == ["Second", "First"]
    for created, each in zip((second, first), listed, strict=True):
        assert each == {name: value for name, value in created.items() if name != "key"}
        assert created["key"].startswith(each["prefix"])
    assert first["scopes"] == ["read"]
    assert second["expires_at"] == "2099-01-31T09:00:00+00:00"
    assert "expires_at" not in first


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": " "}, "/name"),
        ({"name": "x" * 65}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["admin"]}, "/scopes/0"),
        ({"scopes": ["read", "read"]}, "/scopes"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2099-01-01"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "/expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+12:00"}, "/expires_at"),
        ({"key": "pk_mine"}, "/key"),
    ],
)
def test_invalid_keys(api: Api, values: dict[str, Any], pointer: str) -> None:
    """Name, scopes and expiry are validated, and a client cannot choose the key."""
    response = api.sign_up_company().post("/business/keys", json={"name": "Shop", "scopes": ["read"], **values})
    assert response.status_code == 400, response.text
    assert [each["pointer"] for each in response.json()["details"]] == [pointer]


def test_requests_with_a_key(api: Api) -> None:
    """A key acts for its company, with the data that a token sees."""
    company = api.sign_up_company()
    key = create_key(company)["key"]
    body = {"mode": "COMMON", "promo_common": "half-price", "max_count": 5, "target": {}, "description": "Half price"}
    created = call_with_key(api, key, "POST", json=body | {"description": "A promo by a key"})
    assert created.status_code == 201, created.text
    assert call_with_key(api, key).json() == company.get("/business/promo").json()
    assert [each["promo_id"] for each in call_with_key(api, key).json()] == [created.json()["id"]]


def test_idempotency_keys_belong_to_the_company(api: Api) -> None:
    """A request is replayed for a token or another key of the company."""
    company = api.sign_up_company()
    body = {
        "mode": "COMMON",
        "promo_common": "half-price",
        "max_count": 5,
        "target": {},
        "description": "A promo by a key",
    }
    sent = {"json": body, "headers": {"Idempotency-Key": uuid4().hex}}
    first = call_with_key(api, create_key(company)["key"], "POST", **sent)
    for again in (
        call_with_key(api, create_key(company)["key"], "POST", **sent),
        company.post("/business/promo", **sent),
    ):
        assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: "pk_",
        lambda key: key[:-1],
        lambda key: key + "0",
        lambda key: key.swapcase(),
        lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
        lambda key: key[:5] + ("0" if key[5] != "0" else "1") + key[6:],
        lambda key: f"Bearer {key}",
        lambda _: "\xff" * 36,
    ],
)
def test_keys_of_another_form(
    api: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str]
) -> None:
    """A key with a typo is refused without the database."""
    wrong = change(create_key(api.sign_up_company())["key"]).encode("latin-1")
    monkeypatch.setattr(type(runtime.database), "autocommit", None)
    response = api.call("GET", "/business/promo", headers={"X-Api-Key": wrong})
    assert _outcome(response) == (401, "key_invalid")


def test_unknown_keys(api: Api, runtime: Runtime) -> None:
    """A key of the right form that was not issued is refused."""
    assert _outcome(call_with_key(api, runtime.api_keys.generate().text)) == (401, "key_invalid")


def test_expired_keys(api: Api, clock: Clock) -> None:
    """A key is refused from the moment of its expiry. It stays in the list."""
    company = api.sign_up_company()
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    key = create_key(company, expires_at=expires_at.isoformat())["key"]
    clock.stopped_at = expires_at - timedelta(microseconds=1)
    assert call_with_key(api, key).status_code == 200
    clock.stopped_at = expires_at
    assert _outcome(call_with_key(api, key)) == (401, "key_expired")
    assert len(company.get("/business/keys").json()) == 1


def test_revoked_keys(api: Api) -> None:
    """A revoked key is refused at once, and is in no list. Other keys keep working."""
    company = api.sign_up_company()
    revoked, other = create_key(company), create_key(company)
    assert call_with_key(api, revoked["key"]).status_code == 200
    path = f"/business/keys/{revoked['id']}"
    assert company.delete(path).json() == {"status": "ok"}
    assert _outcome(call_with_key(api, revoked["key"])) == (401, "key_revoked")
    assert call_with_key(api, other["key"]).status_code == 200
    assert [each["id"] for each in company.get("/business/keys").json()] == [other["id"]]
    assert _outcome(company.delete(path)) == (404, "key_not_found")


def test_keys_of_other_companies(api: Api) -> None:
    """A company can neither see nor revoke the keys of another."""
    key = create_key(api.sign_up_company())
    other = api.sign_up_company()
    assert other.get("/business/keys").json() == []
    assert _outcome(other.delete(f"/business/keys/{key['id']}")) == (404, "key_not_found")
    assert call_with_key(api, key["key"]).status_code == 200


def test_limit(api: Api, clock: Clock) -> None:
    """A company has at most 20 keys. An expired key counts, and a revoked one does not."""
    company = api.sign_up_company()
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    keys = [create_key(company, expires_at=soon) for _ in range(MAX_KEYS)]
    body = {"name": "Shop", "scopes": ["read"]}
    clock.stopped_at = datetime.now(UTC) + timedelta(hours=2)
    assert _outcome(company.post("/business/keys", json=body)) == (409, "too_many_keys")
    assert company.delete(f"/business/keys/{keys[3]['id']}").status_code == 200
    assert company.post("/business/keys", json=body).status_code == 201
    assert _outcome(company.post("/business/keys", json=body)) == (409, "too_many_keys")
    assert len(company.get("/business/keys").json()) == MAX_KEYS


def test_revoked_keys_are_deleted(api: Api, runtime: Runtime) -> None:
    """The last 20 revoked keys of a company are remembered, and earlier ones are deleted with their digests."""
    company = api.sign_up_company()
    keys = [create_key(company) for _ in range(2)]
    for key in keys:
        company.delete(f"/business/keys/{key['id']}")
    for _ in range(MAX_KEYS - 1):
        company.delete(f"/business/keys/{create_key(company)['id']}")
    codes = [_outcome(call_with_key(api, key["key"])) for key in keys]
    assert codes == [(401, "key_invalid"), (401, "key_revoked")]
    with runtime.database.engine.connect() as connection:
        query = "SELECT count(*) FROM {} WHERE company_id = :id"
        counts = [
            connection.scalar(text(query.format(table)), {"id": company.id})
            for table in ("api_keys", "api_key_digests")
        ]
    assert counts == [MAX_KEYS, MAX_KEYS]


def test_sign_in_and_sign_out(api: Api) -> None:
    """A sign-in and a sign-out revoke tokens and no keys."""
    company = api.sign_up_company()
    key = create_key(company)["key"]
    body = {name: company.body[name] for name in ("email", "password")}
    assert api.call("POST", "/business/auth/sign-in", json=body).status_code == 200
    assert call_with_key(api, key).status_code == 200
    company.token = api.call("POST", "/business/auth/sign-in", json=body).json()["token"]
    assert company.post("/business/auth/sign-out").status_code == 200
    assert call_with_key(api, key).status_code == 200


def test_token_and_key(api: Api) -> None:
    """A request with a token and a key is refused, even if both are valid, and so is one with two keys."""
    company = api.sign_up_company()
    key = create_key(company)["key"]
    both = api.call("GET", "/business/promo", token=company.token, headers={"X-Api-Key": key})
    assert _outcome(both) == (401, "credentials_ambiguous")
    twice = api.client.request("GET", "/api/business/promo", headers=[("X-Api-Key", key), ("X-Api-Key", key)])
    assert _outcome(twice) == (401, "credentials_ambiguous")


def test_last_use(api: Api, runtime: Runtime, clock: Clock) -> None:
    """The minute of the last use is stored after the request, also of one that lacks the scope."""
    company = api.sign_up_company()
    key = create_key(company, scopes=["redeem"])["key"]
    clock.stopped_at = datetime(2090, 5, 4, 12, 30, 59, 999999, tzinfo=UTC)
    for _ in range(2):
        assert call_with_key(api, key).status_code == 403
    store_key_uses(runtime.api_keys, runtime.database)
    clock.stopped_at -= timedelta(minutes=2)
    assert call_with_key(api, key).status_code == 403
    store_key_uses(runtime.api_keys, runtime.database)
    clock.stopped_at = None
    assert [each["last_used_at"] for each in company.get("/business/keys").json()] == ["2090-05-04T12:30:00+00:00"]


def test_queues(api: Api, runtime: Runtime) -> None:
    """A worker knows the company of a key while the key is valid, and so lets its requests queue by company."""
    company = api.sign_up_company()
    created = create_key(company, scopes=["read"])
    assert runtime.api_keys.read(created["key"]).account_id is None
    assert call_with_key(api, created["key"]).status_code == 200
    assert str(runtime.api_keys.read(created["key"]).account_id) == company.id
    company.delete(f"/business/keys/{created['id']}")
    assert call_with_key(api, created["key"]).status_code == 401
    assert runtime.api_keys.read(created["key"]).account_id is None


def test_failing_storage_of_uses(api: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A use that cannot be stored is stored later, and its request does not fail."""
    company = api.sign_up_company()
    key = create_key(company)["key"]
    assert call_with_key(api, key).status_code == 200
    with monkeypatch.context() as patched:
        patched.setattr("promo_api.key_authentication.update_last_use", None)
        with pytest.raises(TypeError):
            store_key_uses(runtime.api_keys, runtime.database)
    assert "last_used_at" not in company.get("/business/keys").json()[0]
    store_key_uses(runtime.api_keys, runtime.database)
    assert company.get("/business/keys").json()[0]["last_used_at"].endswith(":00+00:00")


@pytest.mark.parametrize("kind", ["token", "key"])
def test_log(api: Api, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """The log line of a request has the kind of its credentials, and never the key."""
    company = api.sign_up_company()
    key = create_key(company)["key"]
    with caplog.at_level("INFO", "promo_api.telemetry.request_log"):
        response = company.get("/business/promo") if kind == "token" else call_with_key(api, key)
        request_id = response.headers["x-request-id"]
        assert wait_until(lambda: any(vars(each).get("request_id") == request_id for each in caplog.records), 10)
    [line] = [vars(each) for each in caplog.records if vars(each).get("request_id") == request_id]
    assert line["credentials"] == kind
    assert key not in str(line)


def test_last_use_of_another_worker(api: Api, runtime: Runtime) -> None:
    """A worker that stores an earlier use does not replace the later one of another worker."""
    company = api.sign_up_company()
    key = create_key(company)
    later = datetime(2090, 5, 4, 12, 30, tzinfo=UTC)
    with runtime.database.autocommit() as connection:
        for minute in (later, later - timedelta(minutes=1)):
            update_last_use(connection, UUID(company.id), UUID(key["id"]), minute)
    assert company.get("/business/keys").json()[0]["last_used_at"] == later.isoformat()


def test_closed_company(api: Api, runtime: Runtime) -> None:
    """A closed company cannot use its keys, even before they are deleted."""
    company = api.sign_up_company()
    key = create_key(company)["key"]
    with runtime.database.autocommit() as connection:
        assert close_company(connection, UUID(company.id))
    assert _outcome(call_with_key(api, key)) == (401, "account_deleted")
