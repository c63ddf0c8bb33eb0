"""The log: what went wrong stands in it, and nothing that was sent in confidence."""

from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.e2e.conftest import House, assert_discreet
from tests.people import Account, company_body, promo_body, user_body

_CODES = ["log-c0de-one", "log-c0de-two", "log-c0de-three"]


def _everybody(house: House) -> tuple[Account, Account, str]:
    company, user = house.server.people.sign_up_company(), house.server.people.sign_up_user()
    return company, user, company.create_promo(promo_unique=_CODES)


def _ask_everything(house: House, company: Account, user: Account, promo_id: str) -> set[int]:
    """Send what carries secrets, well-formed and not, and return the statuses of the answers."""
    people, wrong = house.server.people, {"email": user.body["email"], "password": "Wr0ng!password"}
    users, companies = user_body(), company_body()
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/user/auth/sign-in", {"json": wrong}),
        ("POST", "/user/auth/sign-in", {"json": wrong | {"password": "t00 short for this"}}),
        ("POST", "/user/auth/sign-up", {"json": users}),
        ("POST", "/user/auth/sign-up", {"json": users | {"unknown": "m0re-of-it@example.com"}}),
        ("POST", "/business/auth/sign-up", {"json": companies}),
        ("POST", "/business/auth/sign-up", {"json": company.body}),
        ("GET", f"/user/promo/{user.token}", {"token": user.token}),
        ("GET", f"/user/feed?category={user.body['email']}", {"token": user.token}),
        ("GET", "/user/profile", {"token": company.token}),
        ("GET", "/user/profile", {"token": f"{user.token}x"}),
        ("PATCH", "/user/profile", {"token": user.token, "json": {"password": "N3w!password"}}),
        ("POST", "/business/promo", {"token": company.token, "json": promo_body(promo_common="log-c0de-common")}),
        ("POST", "/business/promo", {"token": company.token, "json": promo_body(promo_common="log-c0de" * 9)}),
        ("POST", f"/user/promo/{promo_id}/activate", {"token": user.token}),
        ("GET", f"/business/promo/{promo_id}", {"token": company.token}),
        ("PATCH", f"/business/promo/{promo_id}", {"token": company.token, "json": {"promo_unique": _CODES}}),
    ]
    return {people.call(method, path, **request).status_code for method, path, request in asked}


def test_log_of_a_day_without_trouble(house: House) -> None:
    """Requests, good and bad, leave nothing of theirs in the log."""
    company, user, promo_id = _everybody(house)
    assert {200, 201, 400, 401} <= _ask_everything(house, company, user, promo_id)
    assert_discreet(house.server)


@pytest.mark.parametrize("away", ["postgres", "valkey", "antifraud"])
def test_log_of_an_outage(house: House, away: str) -> None:
    """Nor do requests that fail since a server is away, tracebacks or not; but that it is away can be read."""
    company, user, promo_id = _everybody(house)
    before = len(house.server.log)
    getattr(house, away).stop()
    _ask_everything(house, company, user, promo_id)
    written = house.server.log[before:]
    told = {"postgres": "dependency_down", "valkey": "antifraud_cache_unavailable", "antifraud": "antifraud_no_answer"}
    assert told[away] in written
    assert_discreet(house.server)


def test_log_of_a_failing_database(house: House) -> None:
    """Nor do those whose statements PostgreSQL refuses, and each of them is logged with its reason."""
    company, user, promo_id = _everybody(house)
    url = f"postgresql+psycopg://{house.postgres.username}@/promo?host={house.postgres.host}&port={house.postgres.port}"
    engine = create_engine(url)
    before = len(house.server.log)
    with engine.begin() as connection:
        for table in ("users", "companies", "promos", "promo_codes"):
            connection.execute(text(f"ALTER TABLE {table} RENAME TO {table}_away"))
    try:
        statuses = _ask_everything(house, company, user, promo_id)
    finally:
        with engine.begin() as connection:
            for table in ("users", "companies", "promos", "promo_codes"):
                connection.execute(text(f"ALTER TABLE {table}_away RENAME TO {table}"))
        engine.dispose()
    assert 503 in statuses
    down = [line for line in house.server.lines(before) if line["event"] == "dependency_down"]
    assert {line["reason"] for line in down} == {"python -m promo_api migrate has not been run"}
    assert_discreet(house.server)
    assert user.get("/user/profile").status_code == 200
