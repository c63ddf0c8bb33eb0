"""The codes of UNIQUE promos: uploads in three formats, generation, lists and exports, and the jobs behind them."""

import csv
from io import StringIO
from typing import Any

import orjson

from promo_api.code_jobs.code_rules import describe_reason
from promo_api.code_jobs.runner import CodeJobs
from promo_api.runtime import Runtime
from tests.accounts import Account, Api

CSV, NDJSON = {"Content-Type": "text/csv"}, {"Content-Type": "application/x-ndjson"}


def finish(runtime: Runtime, company: Account, response: Any) -> dict[str, Any]:
    """Work until the job of an upload has finished, and return it."""
    assert response.status_code == 202, response.text
    runner = CodeJobs(runtime.database, runtime.today)
    while True:
        job: dict[str, Any] = company.get(response.headers["location"].removeprefix("/api")).json()
        if "finished_at" in job:
            return job
        runner.run_chunk()


def counts(job: dict[str, Any]) -> tuple[Any, ...]:
    """Return the state and the counts of a job."""
    return tuple(job[name] for name in ("state", "received", "accepted", "duplicates", "rejected", "percent"))


def codes_of(company: Account, promo_id: str) -> list[str]:
    """Return all codes in their order."""
    lines = company.get(f"/business/promo/{promo_id}/codes", headers={"Accept": "application/x-ndjson"}).text
    return [orjson.loads(line)["code"] for line in lines.splitlines()]


def test_json_array(runtime: Runtime, company: Account) -> None:
    """An array of codes is added after the list of the creation, which `promo_unique` still is."""
    promo_id = company.create_promo(promo_unique=["one", "two"])
    response = company.post(f"/business/promo/{promo_id}/codes", json=["two", "three", "four", "three"])
    assert response.headers["location"] == f"/api/business/jobs/{response.json()['id']}"
    assert counts(finish(runtime, company, response)) == ("succeeded", 4, 2, 2, 0, 100)
    promo = company.get(f"/business/promo/{promo_id}").json()
    assert (promo["promo_unique"], promo["codes_count"]) == (["one", "two"], 4)
    assert codes_of(company, promo_id) == ["one", "two", "three", "four"]
    [listed] = company.get("/business/promo").json()
    assert (listed["promo_unique"], listed["codes_count"]) == (["one", "two"], 4)
    change = company.get(f"/business/promo/{promo_id}/changes").json()[0]
    assert (change["event"], change["changes"]) == ("changed", {"codes_count": {"from": 2, "to": 4}})


def test_csv_file(runtime: Runtime, company: Account) -> None:
    """A file with a BOM, CRLF, quotes, blanks, duplicates and broken rows: the counts add up, and errors have lines."""
    promo_id = company.create_promo(promo_unique=["one"])
    file = (
        (
            '\ufeffNote;" CODE "\r\n'
            "a;AAA-1\r\n"
            "\r\n"
            "b;  AAA-2\t\r\n"
            '"c\r\nd";"AAA-3"\r\n'
            "e;AAA-1\r\n"
            "f;no\r\n"
            "g\r\n"
            "h;\u0007bell\r\n"
        ).encode()
        + b"i;\xff\xfe\xfd\r\nj;one\r\nk;"
        + b"x" * 31
    )
    response = company.post(f"/business/promo/{promo_id}/codes", content=file, headers=CSV)
    job = finish(runtime, company, response)
    assert counts(job) == ("succeeded", 10, 3, 2, 5, 100)
    assert codes_of(company, promo_id) == ["one", "AAA-1", "AAA-2", "AAA-3"]
    errors = company.get(f"/business/jobs/{job['id']}/errors")
    reasons = ["too_short", "missing_code", "invalid_characters", "not_utf8", "too_long"]
    assert [orjson.loads(line) for line in errors.text.splitlines()] == [
        {"line": line, "reason": reason, "message": describe_reason(reason)}
        for line, reason in zip((8, 9, 10, 11, 13), reasons, strict=True)
    ]
    errors = company.get(f"/business/jobs/{job['id']}/errors", headers={"Accept": "text/csv"})
    assert [*csv.reader(StringIO(errors.text))][1] == ["8", "too_short", describe_reason("too_short")]


def test_ndjson_file(runtime: Runtime, company: Account) -> None:
    """Lines are strings or objects with `code`; `on_duplicate=allow` adds a code again."""
    promo_id = company.create_promo(promo_unique=["one"])
    file = b'"two"\n{"code": "three", "note": 1}\n\n{"note": 1}\n7\n"\\ud800xx"\n"two"\n"one"'
    url = f"/business/promo/{promo_id}/codes?on_duplicate=allow"
    job = finish(runtime, company, company.post(url, content=file, headers=NDJSON))
    assert counts(job) == ("succeeded", 7, 4, 0, 3, 100)
    assert codes_of(company, promo_id) == ["one", "two", "three", "two", "one"]


def test_large_file(runtime: Runtime, company: Account) -> None:
    """A file of several pieces is imported once; the second time all rows are duplicates."""
    promo_id = company.create_promo(promo_unique=["one"])
    codes = [f"LARGE-{number:07}" for number in range(30_000)]
    for accepted in (30_000, 0):
        response = company.post(f"/business/promo/{promo_id}/codes", content="\r\n".join(codes).encode(), headers=CSV)
        job = finish(runtime, company, response)
        assert counts(job) == ("succeeded", 30_000, accepted, 30_000 - accepted, 0, 100)
    assert codes_of(company, promo_id) == ["one", *codes]
    assert company.get(f"/business/promo/{promo_id}/changes").headers["x-total-count"] == "2"


def test_generation(runtime: Runtime, company: Account) -> None:
    """Exactly `count` codes of the pattern are added."""
    promo_id = company.create_promo(promo_unique=["one"])
    body = {"count": 12_000, "pattern": "A{}#-########"}
    job = finish(runtime, company, company.post(f"/business/promo/{promo_id}/codes/generate", json=body))
    assert (job["kind"], counts(job)) == ("generate", ("succeeded", 12_000, 12_000, 0, 0, 100))
    codes = codes_of(company, promo_id)[1:]
    assert len(set(codes)) == 12_000
    assert {len(code) for code in codes} == {13}
    assert {code[:3] for code in codes} == {"A{}"}
    assert {*"".join(codes)} == {*"A{}-34679CDFGHJKMNPQRTVWX"}


def test_invalid_generation(company: Account) -> None:
    """A pattern that is too short names the length; the alphabet has distinct visible characters and no `#`."""
    promo_id = company.create_promo(promo_unique=["one"])
    url = f"/business/promo/{promo_id}/codes/generate"
    response = company.post(url, json={"count": 1000, "pattern": "SPRING-####"})
    assert (response.status_code, response.json()["code"]) == (400, "pattern_too_short")
    assert response.json()["details"][0]["message"].startswith("must have at least 7 # for 1000 codes of 21 characters")
    assert company.post(url, json={"count": 1000, "pattern": "SPRING-#######"}).status_code == 202
    for alphabet in ("AAB", "AB#", "A B", "AB\u0301"):
        response = company.post(url, json={"count": 1, "pattern": "#" * 30, "alphabet": alphabet})
        assert (response.status_code, response.json()["details"][0]["pointer"]) == (400, "/alphabet"), alphabet


def test_exhausted_promo(runtime: Runtime, api: Api, company: Account) -> None:
    """New codes make an exhausted promo active again: its state, feeds and totals."""
    promo_id = company.create_promo(promo_unique=["one"], target={"country": "ge"})
    user = api.sign_up_user(country="ge")
    assert user.post(f"/user/promo/{promo_id}/activate").json() == {"promo": "one"}
    assert company.get(f"/business/promo/{promo_id}").json()["state"] == "exhausted"
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 403
    finish(runtime, company, company.post(f"/business/promo/{promo_id}/codes", json=["two"]))
    assert company.get(f"/business/promo/{promo_id}").json()["state"] == "active"
    [listed] = [each for each in user.get("/user/feed?active=true&limit=100").json() if each["promo_id"] == promo_id]
    assert listed["active"] is True
    assert user.post(f"/user/promo/{promo_id}/activate").json() == {"promo": "two"}
    page = company.get(f"/business/promo/{promo_id}/codes").json()
    assert [(entry["code"], entry["state"], entry["country"]) for entry in page] == [
        ("one", "issued", "ge"),
        ("two", "issued", "ge"),
    ]


def test_pages_and_states(api: Api, company: Account) -> None:
    """A walk by cursor returns each code once; `state` filters; a cursor of another filter is refused."""
    promo_id = company.create_promo(promo_unique=["one", "two", "three", "four", "five"])
    user = api.sign_up_user()
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
    url, seen = f"/business/promo/{promo_id}/codes?limit=2", []
    while url:
        page = company.get(url)
        seen += [entry["code"] for entry in page.json()]
        url = page.headers.get("link", "").partition(">")[0].removeprefix("</api")
    assert seen == ["one", "two", "three", "four", "five"]
    available = company.get(f"/business/promo/{promo_id}/codes?state=available&limit=1")
    assert available.json() == [{"code": "two", "position": 2, "state": "available"}]
    issued = company.get(f"/business/promo/{promo_id}/codes?state=issued", headers={"Accept": "text/csv"}).text
    assert [row[:3] for row in csv.reader(StringIO(issued))] == [["code", "position", "state"], ["one", "1", "issued"]]
    cursor = available.headers["x-next-cursor"]
    refused = company.get(f"/business/promo/{promo_id}/codes?cursor={cursor}")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor")


def test_idempotency(runtime: Runtime, company: Account) -> None:
    """A repeated upload returns the same job, another file with the same key is refused, and nothing is added."""
    promo_id = company.create_promo(promo_unique=["one"])
    url, headers = f"/business/promo/{promo_id}/codes", {**CSV, "Idempotency-Key": "upload-1"}
    first = company.post(url, content=b"two\nthree\n", headers=headers)
    again = company.post(url, content=b"two\nthree\n", headers=headers)
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (202, first.json(), "true")
    assert again.headers["location"] == first.headers["location"]
    other = company.post(url, content=b"two\nthree\nfour\n", headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    finish(runtime, company, again)
    assert len(company.get("/business/jobs").json()) == 1
    body, headers = {"count": 3, "pattern": "#" * 20}, {"Idempotency-Key": "generate-1"}
    jobs = [company.post(f"{url}/generate", json=body, headers=headers) for _ in range(2)]
    assert jobs[0].json() == jobs[1].json()
    assert jobs[1].headers["location"] == jobs[0].headers["location"]
    finish(runtime, company, jobs[0])
    assert company.get(f"/business/promo/{promo_id}").json()["codes_count"] == 6


def test_refused_uploads(api: Api, company: Account) -> None:
    """Uploads to other promos and files that are not UTF-8, empty or too long are refused, and leave no job."""
    unique, common = company.create_promo(promo_unique=["one"]), company.create_promo()
    other = api.sign_up_company()
    cases = [
        (company, common, b"two", "promo_not_unique"),
        (other, unique, b"two", "not_owner"),
        (company, "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63", b"two", "promo_not_found"),
        (company, unique, "two".encode("utf-16"), "unsupported_encoding"),
        (company, unique, "two".encode("utf-16-le"), "unsupported_encoding"),
        (company, unique, b"\n" * 5_000_002, "too_many_rows"),
        (company, unique, b"", "invalid_request"),
    ]
    for account, promo_id, file, code in cases:
        response = account.post(f"/business/promo/{promo_id}/codes", content=file, headers=CSV)
        assert response.json()["code"] == code, file[:10]
    assert company.post(f"/business/promo/{unique}/codes", json=["no"]).status_code == 400
    assert company.get("/business/jobs").json() == other.get("/business/jobs").json() == []


def test_jobs_of_others(runtime: Runtime, api: Api, company: Account) -> None:
    """A job of another company is 404."""
    promo_id = company.create_promo(promo_unique=["one"])
    job = finish(runtime, company, company.post(f"/business/promo/{promo_id}/codes", json=["two"]))
    for path in ("", "/errors"):
        response = api.sign_up_company().get(f"/business/jobs/{job['id']}{path}")
        assert (response.status_code, response.json()["code"]) == (404, "job_not_found")


def test_times_in_csv(api: Api, company: Account) -> None:
    """A CSV file has the same times as JSON."""
    promo_id = company.create_promo(promo_unique=["one"])
    assert api.sign_up_user().post(f"/user/promo/{promo_id}/activate").status_code == 200
    path = f"/business/promo/{promo_id}/codes"
    [entry] = company.get(path).json()
    [_, row] = csv.reader(StringIO(company.get(path, headers={"Accept": "text/csv"}).text))
    assert row[3] == entry["issued_at"]
