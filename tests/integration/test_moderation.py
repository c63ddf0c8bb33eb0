"""Moderation of comments by companies, and reports by users."""

from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import Account, Api

TEXT = "The cappuccino was worth it."
SPAM = {"reason": "spam"}


def _comment(user: Account, promo_id: str) -> Any:
    response = user.post(f"/user/promo/{promo_id}/comments", json={"text": TEXT})
    assert response.status_code == 201, response.text
    return response.json()


def _report(user: Account, promo_id: str, comment_id: str, reason: str = "spam") -> Any:
    return user.post(f"/user/promo/{promo_id}/comments/{comment_id}/report", json={"reason": reason})


def _error(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_company_reads_comments(api: Api) -> None:
    """A company reads the comments on its promo as users see them, newest first, with a total."""
    company, user = api.sign_up_company(), api.sign_up_user(avatar_url="https://example.com/a.png")
    promo_id = company.create_promo()
    comments = [_comment(user, promo_id) for _ in range(3)][::-1]
    path = f"/business/promo/{promo_id}/comments"
    response = company.get(path, params={"limit": 2})
    assert (response.json(), response.headers["x-total-count"]) == (comments[:2], "3")
    assert company.get(path, params={"limit": 2, "offset": 2}).json() == comments[2:]
    assert company.get(f"{path}/{comments[0]['id']}").json() == comments[0]


def test_removal(api: Api) -> None:
    """A removed comment is gone and not counted, and the audit log has its id without its text."""
    company, user, other = api.sign_up_company(), api.sign_up_user(), api.sign_up_user()
    promo_id = company.create_promo()
    removed, kept = _comment(user, promo_id), _comment(user, promo_id)
    assert _report(other, promo_id, removed["id"]).status_code == 200
    path = f"/business/promo/{promo_id}/comments/{removed['id']}"
    assert company.delete(path).json() == {"status": "ok"}
    assert _error(company.delete(path)) == (404, "comment_not_found")
    assert _error(company.get(path)) == (404, "comment_not_found")
    assert _error(company.get(f"{path}/reports")) == (404, "comment_not_found")
    assert user.get(f"/user/promo/{promo_id}/comments").json() == [kept]
    assert user.get(f"/user/promo/{promo_id}").json()["comment_count"] == 1
    assert other.get("/user/export").json()["comment_reports"] == []
    company.patch(f"/business/promo/{promo_id}", json={"max_count": 5})
    changes = company.get(f"/business/promo/{promo_id}/changes")
    assert [(entry["number"], entry["event"], entry.get("comment_id")) for entry in changes.json()] == [
        (3, "changed", None),
        (2, "comment_removed", removed["id"]),
        (1, "created", None),
    ]
    assert TEXT not in changes.text


def test_other_promos(api: Api) -> None:
    """A promo of another company is 403, an unknown promo or comment 404; nothing is removed."""
    company, stranger, user = api.sign_up_company(), api.sign_up_company(), api.sign_up_user()
    promo_id, other_id = company.create_promo(), company.create_promo()
    comment = _comment(user, promo_id)
    for suffix in ("", f"/{comment['id']}", f"/{comment['id']}/reports"):
        assert _error(stranger.get(f"/business/promo/{promo_id}/comments{suffix}")) == (403, "not_owner")
        assert _error(company.get(f"/business/promo/{uuid4()}/comments{suffix}")) == (404, "promo_not_found")
    assert _error(stranger.delete(f"/business/promo/{promo_id}/comments/{comment['id']}")) == (403, "not_owner")
    elsewhere = f"/business/promo/{other_id}/comments/{comment['id']}"
    assert _error(company.get(elsewhere)) == _error(company.delete(elsewhere)) == (404, "comment_not_found")
    assert user.get(f"/user/promo/{promo_id}/comments").json() == [comment]
    assert len(company.get(f"/business/promo/{promo_id}/changes").json()) == 1


def test_reports(api: Api) -> None:
    """A user reports a comment once; the first reason stays, and the company never sees who."""
    company, author, user, other = api.sign_up_company(), *(api.sign_up_user() for _ in range(3))
    promo_id = company.create_promo()
    plain, comment = _comment(author, promo_id), _comment(author, promo_id)
    path = f"/business/promo/{promo_id}/comments"
    for reason in ("offensive", "spam"):
        assert _report(user, promo_id, comment["id"], reason).json() == {"status": "ok"}
    assert _report(other, promo_id, comment["id"], "other").status_code == 200
    assert company.get(path).json() == [{**comment, "reports_count": 2}, plain]
    assert company.get(f"{path}/{comment['id']}").json()["reports_count"] == 2
    reported = company.get(path, params={"reported": "true"})
    assert (reported.json(), reported.headers["x-total-count"]) == ([{**comment, "reports_count": 2}], "1")
    assert company.get(path, params={"reported": "false"}).json() == company.get(path).json()
    reports = company.get(f"{path}/{comment['id']}/reports")
    assert [report["reason"] for report in reports.json()] == ["other", "offensive"]
    assert reports.headers["x-total-count"] == "2"
    assert [set(report) for report in reports.json()] == [{"reason", "date"}] * 2
    assert company.get(f"{path}/{comment['id']}/reports", params={"offset": 1}).json() == reports.json()[1:]
    assert company.get(f"{path}/{plain['id']}/reports").json() == []
    # The author sees nothing of it.
    assert author.get(f"/user/promo/{promo_id}/comments/{comment['id']}").json() == comment
    exported = user.get("/user/export").json()["comment_reports"]
    assert exported == [
        {"promo_id": promo_id, "comment_id": comment["id"], "reason": "offensive", "date": reports.json()[1]["date"]}
    ]


def test_refused_reports(api: Api) -> None:
    """One's own comment is 403, an unknown comment 404, and a wrong reason or member 400."""
    author, user, promo_id = api.sign_up_user(), api.sign_up_user(), api.sign_up_company().create_promo()
    comment = _comment(author, promo_id)
    assert _error(_report(author, promo_id, comment["id"])) == (403, "own_comment")
    assert _error(_report(user, promo_id, str(uuid4()))) == (404, "comment_not_found")
    assert _error(_report(user, str(uuid4()), comment["id"])) == (404, "comment_not_found")
    path = f"/user/promo/{promo_id}/comments/{comment['id']}/report"
    for body in ({}, {"reason": "Spam"}, {"reason": None}, {"reason": "spam", "text": "x"}, [], None):
        assert user.post(path, json=body).status_code == 400


def test_disabled_comments(api: Api) -> None:
    """With comments_enabled false new and changed comments are refused; comments stay readable and can be deleted."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    path, comments = f"/business/promo/{promo_id}", f"/user/promo/{promo_id}/comments"
    comment = _comment(user, promo_id)
    assert "comments_enabled" not in company.get(path).json()
    assert "comments_enabled" not in user.get(f"/user/promo/{promo_id}").json()
    assert company.patch(path, json={"comments_enabled": False}).json()["comments_enabled"] is False
    assert company.get("/business/promo").json()[0]["comments_enabled"] is False
    assert user.get(f"/user/promo/{promo_id}").json()["comments_enabled"] is False
    assert user.get("/user/feed").json()[0]["comments_enabled"] is False
    assert _error(user.post(comments, json={"text": TEXT})) == (403, "comments_disabled")
    assert _error(user.put(f"{comments}/{comment['id']}", json={"text": TEXT * 2})) == (403, "comments_disabled")
    assert user.get(comments).json() == [comment]
    assert user.get(f"/user/promo/{promo_id}").json()["comment_count"] == 1
    assert user.delete(f"{comments}/{comment['id']}").status_code == 200
    assert "comments_enabled" not in company.patch(path, json={"comments_enabled": True}).json()
    company.patch(path, json={"comments_enabled": True})
    assert _comment(user, promo_id)["text"] == TEXT
    changes = [entry.get("changes") for entry in company.get(f"{path}/changes").json()]
    assert changes == [{"comments_enabled": {"from": False}}, {"comments_enabled": {"to": False}}, None]


@pytest.mark.parametrize("mode", [{}, {"promo_unique": ["code-1"]}])
def test_created_without_comments(api: Api, mode: dict[str, Any]) -> None:
    """A promo of each mode can be created with comments disabled."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(comments_enabled=False, **mode)
    assert company.get(f"/business/promo/{promo_id}").json()["comments_enabled"] is False
    assert _error(user.post(f"/user/promo/{promo_id}/comments", json={"text": TEXT})) == (403, "comments_disabled")


@pytest.mark.parametrize("value", ["false", 0, [], None])
def test_invalid_comments_enabled(api: Api, value: object) -> None:
    """comments_enabled must be a boolean."""
    company = api.sign_up_company()
    promo_id = company.create_promo()
    assert company.patch(f"/business/promo/{promo_id}", json={"comments_enabled": value}).status_code == 400
    assert "comments_enabled" not in company.get(f"/business/promo/{promo_id}").json()


def test_deleted_reporter(api: Api) -> None:
    """The report of a deleted user stays, and its reporter cannot be found."""
    company, author, user = api.sign_up_company(), api.sign_up_user(), api.sign_up_user()
    promo_id = company.create_promo()
    comment = _comment(author, promo_id)
    _report(user, promo_id, comment["id"])
    path = f"/business/promo/{promo_id}/comments/{comment['id']}"
    before = company.get(path).json(), company.get(f"{path}/reports").json()
    assert user.api.call("DELETE", "/user/profile", token=user.token, json={"password": user.body["password"]})
    assert (company.get(path).json(), company.get(f"{path}/reports").json()) == before
    assert before[0]["reports_count"] == 1
