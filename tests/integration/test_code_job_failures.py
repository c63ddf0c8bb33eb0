"""Jobs of codes whose process dies: another one resumes them, and each row counts once."""

from contextlib import suppress
from threading import current_thread
from typing import Any

import pytest

from persistence.consistency import count_mismatched_change_numbers, count_mismatched_changes, count_mismatched_codes
from persistence.database.statements import Statement
from persistence.feeds.feed_index import count_mismatched_feed_entries
from promo_api.code_jobs import runner as runner_module
from promo_api.code_jobs.runner import CodeJobs
from promo_api.errors import ServiceUnavailable
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.integration.test_codes import CSV, codes_of, counts, finish

_STATEMENTS_MIN, _STATEMENTS_MAX = 10, 40


def test_death_at_each_statement(runtime: Runtime, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is lost before each statement of a chunk in turn: the counts and the codes are exact."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(promo_unique=["first"])
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
    failing = Failing(monkeypatch)
    _only_here(monkeypatch)
    codes = [f"CODE-{number:05}" for number in range(25_000)]
    file = "\r\n".join([*codes, "no", codes[0]]).encode()
    response = company.post(f"/business/promo/{promo_id}/codes", content=file, headers=CSV)
    runner = CodeJobs(runtime.database, runtime.today)
    lost = 0
    for number in range(1, _STATEMENTS_MAX):
        failing.at(number)
        with suppress(ServiceUnavailable):
            runner.run_chunk()
        lost += failing.at(0)
    assert lost >= _STATEMENTS_MIN
    job = finish(runtime, company, response)
    assert counts(job) == ("succeeded", 25_002, 25_000, 1, 1, 100)
    assert codes_of(company, promo_id) == ["first", *codes]
    assert company.get(f"/business/promo/{promo_id}/changes").json()[0]["changes"] == {
        "codes_count": {"from": 1, "to": 25_001}
    }
    assert user.post(f"/user/promo/{promo_id}/activate").json() == {"promo": codes[0]}
    with runtime.database.autocommit() as connection:
        checks = (count_mismatched_codes, count_mismatched_changes, count_mismatched_change_numbers)
        assert [check(connection) for check in (*checks, count_mismatched_feed_entries)] == [0, 0, 0, 0]


class Failing:
    """Makes a statement of this thread fail, like a lost connection."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left = 0
        self._thread = current_thread()
        original = Statement._run

        def run(statement: Statement, connection: Any, values: Any) -> Any:
            if current_thread() is self._thread and self._left:
                self._left -= 1
                if not self._left:
                    raise ServiceUnavailable("", reason="the test has lost the connection")
            return original(statement, connection, values)

        monkeypatch.setattr(Statement, "_run", run)

    def at(self, number: int) -> bool:
        """Make the statement with this number fail (0: none), and return whether the last one has failed."""
        failed, self._left = self._left == 0, number
        return failed


def _only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only this thread work, and not the background job of the API."""
    thread, original = current_thread(), runner_module.list_due_jobs

    def list_due_jobs(connection: Any, *, limit: int) -> Any:
        return original(connection, limit=limit) if current_thread() is thread else []

    monkeypatch.setattr(runner_module, "list_due_jobs", list_due_jobs)
