"""Texts that were stored under the rules of earlier versions are shown, and their owners can change other members."""

from typing import Any, NamedTuple
from uuid import UUID

import pytest
from sqlalchemy import update

from persistence.feeds.feed_index import delete_feed_entries, insert_feed_entries
from persistence.promos.promos import update_promo
from persistence.schema.tables import comments, companies, company_names, promo_codes, promos, users
from promo_api.runtime import Runtime
from tests.accounts import Account, Api

_CONTROLS = "\n\x1b\x85\u202e\u2028\x07\x7f\u2066\t"
_NAME, _CATEGORY, _CODE = f"a{_CONTROLS}", f" b{_CONTROLS} ", f" c{_CONTROLS} "
_INVISIBLE = "\u200b" * 10


class Scene(NamedTuple):
    """A company with two promos, and a user with a comment, all with texts that are refused now."""

    company: Account
    user: Account
    common: str
    unique: str
    comment: str


@pytest.fixture
def scene(api: Api, runtime: Runtime) -> Scene:
    """Store the texts in the database, because no request can."""
    company, user = api.sign_up_company(), api.sign_up_user()
    common, unique = company.create_promo(), company.create_promo(promo_unique=["one", "two"])
    comment = user.post(f"/user/promo/{common}/comments", json={"text": "A comment to change"}).json()["id"]
    ids = [UUID(common), UUID(unique)]
    definition = {"description": _INVISIBLE, "country": None, "categories": [_CATEGORY, _INVISIBLE]}
    with runtime.database.transaction() as connection:
        for promo_id in ids:
            delete_feed_entries(connection, promo_id)
            update_promo(connection, promo_id, definition)
            insert_feed_entries(connection, promo_id, runtime.today())
        codes = {"promo_common": _CODE}
        connection.execute(update(promos).where(promos.c.id == ids[0]).values(codes))
        connection.execute(update(promos).where(promos.c.id == ids[1]).values(promo_unique=[_CODE, "two"]))
        is_first = (promo_codes.c.promo_id == ids[1], promo_codes.c.position == 1)
        connection.execute(update(promo_codes).where(*is_first).values(value=_CODE))
        connection.execute(update(comments).where(comments.c.id == UUID(comment)).values(text=_INVISIBLE))
        connection.execute(update(companies).where(companies.c.id == UUID(company.id)).values(name=_NAME * 2))
        name = update(company_names).where(company_names.c.company_id == UUID(company.id))
        connection.execute(name.values(name=_NAME * 2))
        connection.execute(update(users).where(users.c.email == user.email).values(name=_NAME, surname=_INVISIBLE))
    return Scene(company, user, common, unique, comment)


def _read(account: Account, path: str) -> Any:
    response = account.get(path)
    assert response.status_code == 200, response.text
    return response.json()


def test_company_reads_and_changes_its_promos(scene: Scene) -> None:
    """The company sees the texts, changes other members of its promos, and sees both in the audit log."""
    target = {"categories": [_CATEGORY, _INVISIBLE]}
    for promo in (*_read(scene.company, "/business/promo"), _read(scene.company, f"/business/promo/{scene.unique}")):
        assert (promo["company_name"], promo["description"], promo["target"]) == (_NAME * 2, _INVISIBLE, target)
        assert promo.get("promo_common") == _CODE or promo["promo_unique"] == [_CODE, "two"]
    for promo_id in (scene.common, scene.unique):
        path = f"/business/promo/{promo_id}"
        changed = scene.company.patch(path, json={"active_until": "2099-01-01"})
        assert (changed.status_code, changed.json()["target"]) == (200, target)
        assert scene.company.patch(path, json={"description": "A new description", "target": {}}).status_code == 200
        [entry] = [each for each in _read(scene.company, f"{path}/changes") if "target" in each.get("changes", ())]
        assert entry["changes"]["target"]["from"] == target
        assert entry["changes"]["description"]["from"] == _INVISIBLE


def test_user_reads_promos(scene: Scene) -> None:
    """A user sees the texts in the feed and the history, activates the promos and gets the codes."""
    listed = [promo for promo in _read(scene.user, "/user/feed?limit=100") if promo["company_id"] == scene.company.id]
    assert {promo["company_name"] for promo in listed} == {_NAME * 2}
    for promo_id in (scene.common, scene.unique):
        assert _read(scene.user, f"/user/promo/{promo_id}")["description"] == _INVISIBLE
        headers = {"Idempotency-Key": promo_id}
        activated = scene.user.post(f"/user/promo/{promo_id}/activate", headers=headers)
        assert (activated.status_code, activated.json()) == (200, {"promo": _CODE})
    assert len(_read(scene.user, "/user/promo/history")) == 2


def test_user_reads_and_changes_the_profile(scene: Scene) -> None:
    """The user sees the names, and can replace one of them, in the profile and as an author."""
    profile = _read(scene.user, "/user/profile")
    assert (profile["name"], profile["surname"]) == (_NAME, _INVISIBLE)
    author = _read(scene.user, f"/user/promo/{scene.common}/comments")[0]["author"]
    assert author == {"name": _NAME, "surname": _INVISIBLE}
    changed = scene.user.patch("/user/profile", json={"name": "Ann"})
    assert (changed.status_code, changed.json()["surname"]) == (200, _INVISIBLE)


def test_user_reads_changes_and_exports_comments(scene: Scene) -> None:
    """The author sees the text of a comment, exports it, and replaces it."""
    path = f"/user/promo/{scene.common}/comments/{scene.comment}"
    assert _read(scene.user, path)["text"] == _INVISIBLE
    assert [each["text"] for each in _read(scene.user, "/user/export")["comments"]] == [_INVISIBLE]
    assert scene.user.put(path, json={"text": _INVISIBLE}).status_code == 400
    assert scene.user.put(path, json={"text": "A comment that can be read"}).status_code == 200
