"""Workers are killed during an import of codes: others continue it, and each row counts once."""

from typing import Any

from promo_api.dev.processes import wait_until
from tests.accounts import Account
from tests.e2e.environment import Environment

_TIMEOUT_S = 120
_CSV = {"Content-Type": "text/csv"}
_CODES = 60_000


def _file() -> tuple[bytes, list[str], dict[str, int]]:
    """Return a file with a BOM, CRLF, blank lines, duplicates and broken rows, its codes, and the expected counts."""
    codes = [f"KILLED-{number:06}" for number in range(_CODES)]
    lines = [
        line
        for number, code in enumerate(codes)
        for line in (
            [f'"{code}";a', "", f"  {codes[number // 2]} ;again", ";", "no;short"]
            if number % 10 == 9
            else [f"{code};a"]
        )
    ]
    tenth = _CODES // 10
    expected = {"received": _CODES + 3 * tenth, "accepted": _CODES, "duplicates": tenth, "rejected": 2 * tenth}
    return "\r\n".join(["\ufeffCode;note", *lines]).encode(), codes, expected


def _job(company: Account, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = company.get(f"/business/jobs/{job_id}").json()
    return job


def test_workers_killed_during_an_import(env: Environment) -> None:
    """All workers are killed twice during an import: the counts add up, and the list has each code once."""
    company = env.server.accounts.sign_up_company()
    promo_id = company.create_promo(promo_unique=["first"])
    content, codes, expected = _file()
    response = company.post(f"/business/promo/{promo_id}/codes", data=content, headers=_CSV)
    assert response.status_code == 202, response.text
    job_id = response.json()["id"]
    for part in (1, 4):
        assert wait_until(lambda part=part: _job(company, job_id)["received"] > part * _CODES // 10, _TIMEOUT_S)
        env.server.kill_workers()
        assert wait_until(env.server.responds, _TIMEOUT_S)
    assert wait_until(lambda: "finished_at" in _job(company, job_id), _TIMEOUT_S)
    job = _job(company, job_id)
    assert {name: job[name] for name in expected} == expected
    assert job["state"] == "succeeded"
    listed = company.get(f"/business/promo/{promo_id}/codes", headers={"Accept": "text/csv"}).text
    assert [line.partition(",")[0] for line in listed.splitlines()[1:]] == ["first", *codes]
    errors = company.get(f"/business/jobs/{job_id}/errors", headers={"Accept": "text/csv"}).text
    assert len(errors.splitlines()) == 1 + expected["rejected"]
