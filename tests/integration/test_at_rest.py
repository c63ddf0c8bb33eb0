"""Data at rest: a reader of the database or of Redis finds nothing that opens an account."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from redis.connection import AbstractConnection
from sqlalchemy import inspect, text

from persistence.schema.tables import metadata
from promo_api.runtime import Runtime
from tests.accounts import Account, Api, company_body, user_body


@dataclass(frozen=True)
class Secrets:
    """Values of some accounts: their credentials, and their personal data."""

    credentials: list[str]
    personal: list[str]


def _sign_in(api: Api, account: Account, kind: str) -> str:
    credentials = {name: account.body[name] for name in ("email", "password")}
    token: str = api.call("POST", f"/{kind}/auth/sign-in", json=credentials).json()["token"]
    return token


def _use_api(api: Api) -> Secrets:
    """Sign up a company and a user, run every kind of request that stores data, and return their secrets."""
    passwords = [f"Pa5s{uuid4().hex}!" for _ in range(4)]
    company = api.sign_up_company(**company_body() | {"password": passwords[0]})
    user = api.sign_up_user(**user_body() | {"password": passwords[1], "surname": f"Surname {uuid4().hex}"})
    code = uuid4().hex[:30]
    promo_id = company.create_promo(promo_unique=[code])
    key = {"Idempotency-Key": uuid4().hex}
    assert user.post(f"/user/promo/{promo_id}/activate", headers=key).json() == {"promo": code}
    assert user.patch("/user/profile", json={"password": passwords[2]}).status_code == 200
    for kind, account in (("business", company), ("user", user)):
        failed = {"email": account.body["email"], "password": passwords[3]}
        assert api.call("POST", f"/{kind}/auth/sign-in", json=failed).status_code == 401
    user.body["password"] = passwords[2]
    tokens = [company.token, user.token, _sign_in(api, company, "business"), _sign_in(api, user, "user")]
    company.token = tokens[2]
    api_key = company.post("/business/keys", json={"name": "Shop", "scopes": ["redeem"]}).json()["key"]
    webhook = company.post("/business/webhooks", json={"url": "https://shop.example/hooks"}, headers=key).json()
    rotated = company.post(f"/business/webhooks/{webhook['id']}/rotate-secret", headers=key).json()
    redemption = {"headers": {"X-Api-Key": api_key}, "json": {"code": "unknown"}}
    assert api.call("POST", "/business/redemptions/validate", **redemption).status_code == 200
    secrets = [webhook["secret"], rotated["secret"]]
    return Secrets(
        [*passwords, *tokens, api_key, *secrets],
        [company.body["email"], user.body["email"], user.body["surname"], code],
    )


def _tables_with(runtime: Runtime, searched: str) -> list[str]:
    """Return the tables with a row that contains a text, in any letter case."""
    with runtime.database.engine.connect() as connection:
        names = metadata.tables.keys() & set(inspect(connection).get_table_names())
        return [
            name
            for name in sorted(names)
            if connection.scalar(
                text(f"SELECT EXISTS (SELECT 1 FROM {name} WHERE strpos(lower({name}::text), lower(:searched)) > 0)"),  # noqa: S608 names of tables
                {"searched": searched},
            )
        ]


def test_database_has_no_credentials(api: Api, runtime: Runtime) -> None:
    """No row contains a secret: a password, token, API key, signing key. The search does find the personal data."""
    secrets = _use_api(api)
    assert all(_tables_with(runtime, each) for each in secrets.personal)
    signatures = [token.rpartition(".")[2] for token in secrets.credentials if token.count(".") == 2]
    assert len(signatures) == 4
    for each in [*secrets.credentials, *signatures, runtime.settings.secret_key]:
        assert _tables_with(runtime, each) == []


def test_redis_has_no_personal_data(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command sent to Redis contains an e-mail address, name, code, password or token."""
    sent: list[bytes] = []
    send = AbstractConnection.send_packed_command

    def record(self: AbstractConnection, command: Any, *more: Any, **named: Any) -> Any:
        sent.append(command if isinstance(command, bytes) else b"".join(command))
        return send(self, command, *more, **named)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", record)
    secrets = _use_api(api)
    commands = b"".join(sent).lower()
    assert b"antifraud" in commands
    assert [each for each in secrets.credentials + secrets.personal if each.lower().encode() in commands] == []
