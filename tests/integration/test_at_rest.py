"""What is kept, and where: whoever reads the database, or Redis, finds nothing that lets them in."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from redis.connection import AbstractConnection
from sqlalchemy import text

from persistence.tables import metadata
from promo_api.runtime import Runtime
from tests.accounts import Account, Api, company_body, user_body


@dataclass(frozen=True)
class Secrets:
    """What accounts have sent and been given: what opens them, and what is theirs."""

    opening: list[str]
    personal: list[str]


def _signed_in(api: Api, account: Account, kind: str) -> str:
    credentials = {name: account.body[name] for name in ("email", "password")}
    token: str = api.call("POST", f"/{kind}/auth/sign-in", json=credentials).json()["token"]
    return token


def _active(api: Api) -> Secrets:
    """Let a company and a user do whatever leaves something behind, failed sign-ins among it."""
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
    tokens = [company.token, user.token, _signed_in(api, company, "business"), _signed_in(api, user, "user")]
    return Secrets([*passwords, *tokens], [company.body["email"], user.body["email"], user.body["surname"], code])


def _tables_with(runtime: Runtime, words: str) -> list[str]:
    """Return the tables that have these words anywhere in a row, in any case."""
    with runtime.database.engine.connect() as connection:
        return [
            name
            for name in metadata.tables
            if connection.scalar(
                text(f"SELECT EXISTS (SELECT FROM {name} row WHERE strpos(lower(row::text), lower(:words)) > 0)"),  # noqa: S608 a name of ours
                {"words": words},
            )
        ]


def test_database_opens_no_account(api: Api, runtime: Runtime) -> None:
    """No password, no token and not the key of tokens is in any row; what is personal is, so it would be found."""
    secrets = _active(api)
    assert all(_tables_with(runtime, each) for each in secrets.personal)
    signatures = [token.rpartition(".")[2] for token in secrets.opening if token.count(".") == 2]
    assert len(signatures) == 4
    for each in [*secrets.opening, *signatures, runtime.settings.secret_key]:
        assert _tables_with(runtime, each) == []


def test_redis_gets_nothing_personal(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is sent to Redis, keys and values alike, has no address, name, code, password or token in it."""
    sent: list[bytes] = []
    send = AbstractConnection.send_packed_command

    def noting(self: AbstractConnection, command: Any, *more: Any, **named: Any) -> Any:
        sent.append(command if isinstance(command, bytes) else b"".join(command))
        return send(self, command, *more, **named)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", noting)
    secrets = _active(api)
    told = b"".join(sent).lower()
    assert b"antifraud" in told
    assert [each for each in secrets.opening + secrets.personal if each.lower().encode() in told] == []
