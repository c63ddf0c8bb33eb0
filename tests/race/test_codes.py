"""Jobs that add codes, at the same time as claims, changes of the promo and each other; the death of their session."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, select

from persistence.consistency import (
    count_mismatched_change_numbers,
    count_mismatched_changes,
    count_mismatched_code_order,
    count_mismatched_codes,
)
from persistence.feeds.feed_counts import count_mismatched_feed_counts
from persistence.feeds.feed_index import count_mismatched_feed_entries
from persistence.schema.tables import promo_codes, promo_counters
from promo_api.code_jobs import runner
from promo_api.code_jobs.runner import CodeJobs
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.integration.test_codes import CSV, codes_of, counts, finish
from tests.race.consistency import recounted
from tests.race.interleaving import Stage, pid_of, together

_CHECKS = (
    count_mismatched_change_numbers,
    count_mismatched_changes,
    count_mismatched_code_order,
    count_mismatched_codes,
    count_mismatched_feed_counts,
    count_mismatched_feed_entries,
)
# The steps of a chunk that ends the job, in their order.
_STEPS = [
    *("claim_job", "claim_company", "count_codes", "claim_piece", "insert_codes", "insert_errors", "update_job"),
    *("count_added_codes", "close_job", "record_added_codes"),
]


def _upload(company: Account, promo_id: str, codes: list[str]) -> Any:
    response = company.post(f"/business/promo/{promo_id}/codes", content="\n".join(codes).encode(), headers=CSV)
    assert response.status_code == 202, response.text
    return response


def _activation(user: Account, promo_id: str) -> Callable[[], Any]:
    return partial(user.post, f"/user/promo/{promo_id}/activate")


def _chunk(runtime: Runtime) -> Callable[[], Any]:
    return CodeJobs(runtime.database, runtime.today).run_chunk


def _assert_consistent(runtime: Runtime, promo_id: str) -> None:
    """Assert that positions have no gap, and that all derived data are right."""
    with runtime.database.autocommit() as connection:
        of_promo = promo_codes.c.promo_id == UUID(promo_id)
        positions = connection.scalars(select(promo_codes.c.position).where(of_promo).order_by(promo_codes.c.position))
        assert [*positions] == [*range(1, len(_values(connection, promo_id)) + 1)]
        assert {check.__name__: check(connection) for check in _CHECKS} == {check.__name__: 0 for check in _CHECKS}


def _values(connection: Connection, promo_id: str) -> list[str]:
    return [*connection.scalars(select(promo_codes.c.value).where(promo_codes.c.promo_id == UUID(promo_id)))]


def test_claims_that_wait_for_new_codes(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """Claims that wait while codes are added get them, although there was one code when they began."""
    company, users = uncoalesced_api.sign_up_company(), [uncoalesced_api.sign_up_user() for _ in range(4)]
    promo_id = company.create_promo(promo_unique=["first"])
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        response = _upload(company, promo_id, ["second", "third", "fourth"])
        queue.add(_chunk(runtime), *(_activation(user, promo_id) for user in users))
    values = [claim.json()["promo"] for claim in queue.results()[1:]]
    assert sorted(values) == ["first", "fourth", "second", "third"]
    assert counts(finish(runtime, company, response)) == ("succeeded", 3, 3, 0, 0, 100)
    assert recounted(runtime.database, promo_id).uses == 4
    _assert_consistent(runtime, promo_id)


def test_last_code_is_issued_while_codes_are_added(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """A promo whose last code is issued while an import waits is active again after the import, also in the feed."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    category = f"category {company.id[:8]}"
    promo_id = company.create_promo(promo_unique=["last"], target={"categories": [category]})
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        response = _upload(company, promo_id, ["next"])
        queue.add(_activation(user, promo_id), _chunk(runtime))
    assert queue.results()[0].json() == {"promo": "last"}
    finish(runtime, company, response)
    assert company.get(f"/business/promo/{promo_id}").json()["state"] == "active"
    feed = user.get("/user/feed", params={"category": category, "active": "true"})
    assert ([each["promo_id"] for each in feed.json()], feed.headers["x-total-count"]) == ([promo_id], "1")
    _assert_consistent(runtime, promo_id)


def test_claims_and_an_import_at_once(api: Api, runtime: Runtime) -> None:
    """Each code is issued at most once, and each claim is granted or refused, while codes are added."""
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(4)]
    promo_id = company.create_promo(promo_unique=["first", "second"])
    response = _upload(company, promo_id, [f"added-{number}" for number in range(10)])
    importing = partial(finish, runtime, company, response)
    _, *claims = together([importing, *[_activation(users[number % 4], promo_id) for number in range(20)]])
    granted = [claim.json()["promo"] for claim in claims if claim.status_code == 200]
    refused = {claim.json()["code"] for claim in claims if claim.status_code != 200}
    assert refused <= {"promo_exhausted"}
    assert len(set(granted)) == len(granted) == recounted(runtime.database, promo_id).uses
    _assert_consistent(runtime, promo_id)


@pytest.mark.parametrize("member", ["paused", "archived"])
@pytest.mark.parametrize("patch_first", [False, True])
def test_import_and_change_of_a_used_up_promo(
    uncoalesced_api: Api, runtime: Runtime, stage: Stage, member: str, *, patch_first: bool
) -> None:
    """A promo that is stopped while codes are added stays stopped and has the codes, in either order."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(promo_unique=["last"])
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        response = _upload(company, promo_id, ["next"])
        jobs = [_chunk(runtime), partial(company.patch, f"/business/promo/{promo_id}", json={member: True})]
        queue.add(*reversed(jobs) if patch_first else jobs)
    queue.results()
    finish(runtime, company, response)
    promo = company.get(f"/business/promo/{promo_id}").json()
    assert (promo["state"], promo["codes_count"], promo["used_count"]) == (member, 2, 1)
    _assert_consistent(runtime, promo_id)


def test_two_imports_of_the_same_codes(api: Api, runtime: Runtime) -> None:
    """Two imports at once, worked on by several workers, add each code once."""
    company = api.sign_up_company()
    promo_id = company.create_promo(promo_unique=["first"])
    codes = [f"shared-{number:05}" for number in range(12_000)]
    responses = together([partial(_upload, company, promo_id, codes)] * 2)
    jobs = together([partial(finish, runtime, company, response) for response in responses * 2])
    first, second = jobs[:2]
    assert [job["state"] for job in jobs] == ["succeeded"] * 4
    assert sorted([first["accepted"], second["accepted"]]) == [0, len(codes)]
    assert sorted([first["duplicates"], second["duplicates"]]) == [0, len(codes)]
    assert codes_of(company, promo_id) == ["first", *codes]
    changes = company.get(f"/business/promo/{promo_id}/changes").json()
    assert [change.get("changes") for change in changes] == [{"codes_count": {"from": 1, "to": 12_001}}, None]
    _assert_consistent(runtime, promo_id)


@pytest.mark.parametrize("step", _STEPS)
def test_death_of_the_importer(
    api: Api, runtime: Runtime, stage: Stage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """If the session of a chunk ends at any step, the next worker repeats the chunk, and each row counts once."""
    company = api.sign_up_company()
    promo_id = company.create_promo(promo_unique=["first"])
    codes = [f"mortal-{number:05}" for number in range(9_000)]
    original, killed = getattr(runner, step), []

    def dies_once(connection: Connection, *arguments: Any, **more: Any) -> Any:
        result = original(connection, *arguments, **more)
        if not killed:
            killed.append(step)
            stage.terminate(pid_of(connection))
        return result

    monkeypatch.setattr(runner, step, dies_once)
    response = _upload(company, promo_id, [*codes, "no", "first", codes[0]])
    job: dict[str, Any] = {}
    while not job:
        try:
            job = finish(runtime, company, response)
        except Exception:  # noqa: BLE001 the error depends on the step
            assert killed
    assert killed == [step]
    assert counts(job) == ("succeeded", 9_003, 9_000, 2, 1, 100)
    assert codes_of(company, promo_id) == ["first", *codes]
    assert company.get(f"/business/jobs/{job['id']}/errors").text.count("\n") == 1
    _assert_consistent(runtime, promo_id)
