"""Workers are killed during redemptions: no code is redeemed twice, and no redemption with a response is lost."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from promo_api.dev.processes import wait_until
from tests.accounts import Account
from tests.e2e.server import Server
from tests.e2e.storms import CUT

_CODES, _TRIES = 100, 5
_THREADS = 16
_TIMEOUT_S = 60


def _listed(company: Account) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        response = company.get("/business/redemptions", params={"limit": 100, **cursor})
        entries += response.json()
        if "X-Next-Cursor" not in response.headers:
            return entries
        cursor = {"cursor": response.headers["X-Next-Cursor"]}


def test_killed_workers_during_redemptions(own_server: Server) -> None:
    """Of 500 redemptions of 100 issued codes, with two kills of a worker, exactly 100 are confirmed and counted."""
    company, user = own_server.accounts.sign_up_company(), own_server.accounts.sign_up_user()
    promo_id = company.create_promo(promo_unique=[f"killed-code-{number}" for number in range(_CODES)])
    for _ in range(_CODES):
        assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
    codes = [f"KILLED-CODE-{number}" for number in range(_CODES)] * _TRIES
    Random(1).shuffle(codes)  # noqa: S311 not a secret

    def redeem(number: int) -> Any:
        if number in (120, 300):
            own_server.kill_worker()
        try:
            return company.post("/business/redemptions", json={"code": codes[number]})
        except CUT:
            return None

    with ThreadPoolExecutor(_THREADS) as threads:
        responses = [each for each in threads.map(redeem, range(len(codes))) if each is not None]
    assert wait_until(own_server.responds, _TIMEOUT_S)
    # Again the codes whose requests were cut.
    responses += [company.post("/business/redemptions", json={"code": code}) for code in codes[: _CODES * _TRIES]]
    assert {each.status_code for each in responses} <= {201, 409, 503}
    received = [each.json()["id"] for each in responses if each.status_code == 201]
    listed = _listed(company)
    assert Counter(each["code"] for each in listed) == {f"killed-code-{number}": 1 for number in range(_CODES)}
    assert {each["state"] for each in listed} == {"confirmed"}
    assert {*received} <= {each["id"] for each in listed}
    assert len({*received}) == len(received)
    stat = company.get(f"/business/promo/{promo_id}/stat").json()
    assert (stat["redemptions_count"], stat["activations_count"]) == (_CODES, _CODES)
    buckets = company.get(f"/business/promo/{promo_id}/stat/series").json()["buckets"]
    assert [sum(each[name] for each in buckets) for name in ("redemptions", "activations")] == [_CODES, _CODES]
