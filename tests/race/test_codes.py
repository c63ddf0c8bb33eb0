"""Added codes against claims, other imports and changes of the promo."""

from functools import partial
from typing import Any

from persistence.consistency import count_mismatched_code_order, count_mismatched_codes, count_mismatched_issued_codes
from persistence.feeds.feed_index import count_mismatched_feed_entries
from promo_api.code_jobs.runner import CodeJobs
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.race.interleaving import together

_NDJSON = {"Content-Type": "application/x-ndjson"}


def test_imports_claims_and_changes(runtime: Runtime, api: Api) -> None:
    """Two imports of the same codes, claims and changes at once: each code is added once, and issued once."""
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(4)]
    promo_id = company.create_promo(promo_unique=["first"])
    codes = [f"CODE-{number:06}" for number in range(30_000)]
    file = "\n".join(f'"{code}"' for code in codes).encode()
    url = f"/business/promo/{promo_id}/codes"
    uploads = together([partial(company.post, url, content=file, headers=_NDJSON)] * 2)
    jobs = [response.json()["id"] for response in uploads]

    def work() -> list[Any]:
        runner = CodeJobs(runtime.database, runtime.today)
        while any("finished_at" not in company.get(f"/business/jobs/{job}").json() for job in jobs):
            runner.run_chunk()
        return []

    def claim(number: int) -> list[Any]:
        responses = [users[number].post(f"/user/promo/{promo_id}/activate") for _ in range(15)]
        return [response.json()["promo"] for response in responses if response.status_code == 200]

    def change() -> list[Any]:
        for number in range(10):
            assert company.patch(f"/business/promo/{promo_id}", json={"target": {"age_from": number}}).is_success
        return []

    results = together([work, work, *(partial(claim, number) for number in range(len(users))), change])
    issued = [code for codes in results for code in codes]
    accepted = [company.get(f"/business/jobs/{job}").json() for job in jobs]
    assert sorted((job["accepted"], job["duplicates"]) for job in accepted) == [(0, 30_000), (30_000, 0)]
    promo = company.get(f"/business/promo/{promo_id}").json()
    assert (promo["codes_count"], promo["used_count"]) == (30_001, len(issued))
    assert sorted(issued) == sorted(["first", *codes][: len(issued)])
    with runtime.database.autocommit() as connection:
        checks = (count_mismatched_codes, count_mismatched_code_order, count_mismatched_issued_codes)
        assert [check(connection) for check in (*checks, count_mismatched_feed_entries)] == [0, 0, 0, 0]
