"""Cursors: valid for one list only, and walks that neither skip nor repeat entries while lists change."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from sqlalchemy import text

from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.integration.persistence.feeds import seeded
from tests.integration.walks import next_page, walk

_LENGTH = 7
_categories = count(1)
_ERROR = (400, "invalid_cursor", "/cursor")


@dataclass
class Scene:
    """A company and a user, with promos in one category."""

    company: Account
    user: Account
    category: str
    ids: list[str] = field(default_factory=list)

    def create(self, **changes: Any) -> str:
        """Create a promo that the user sees."""
        target = {"categories": [self.category], **changes.pop("target", {})}
        self.ids.append(self.company.create_promo(target=target, **changes))
        return self.ids[-1]

    def paths(self) -> list[str]:
        """Return the path of each list, with seven entries or more."""
        feed, company, promo = f"/user/feed?category={self.category}", "/business/promo?limit=2", self.ids[-1]
        orders = [
            f"{company}&sort_by=active_{edge}{countries}" for edge in ("from", "until") for countries in _COUNTRIES
        ]
        return [
            *(f"{feed}&limit=2{active}" for active in ("", "&active=true")),
            *(f"{company}{countries}" for countries in _COUNTRIES),
            *orders,
            "/user/promo/history?limit=2",
            "/user/activations?limit=2",
            f"/user/promo/{promo}/comments?limit=2",
            f"/business/promo/{promo}/changes?limit=2",
        ]

    def owner(self, path: str) -> Account:
        """Return the account of a list."""
        return self.company if path.startswith("/business") else self.user


_COUNTRIES = ("", "&country=fr,RU")


@pytest.fixture
def scene(api: Api) -> Scene:
    """Lists of seven entries."""
    made = Scene(api.sign_up_company(), api.sign_up_user(country="fr"), f"cursors-{next(_categories)}")
    for number in range(_LENGTH):
        dates = {"active_from": "2025-01-10", "active_until": "2999-01-10"} if number % 3 else {}
        promo_id = made.create(**dates, target={"country": "Fr"} if number % 2 else {})
        made.user.post(f"/user/promo/{promo_id}/activate")
        for each in range(_LENGTH):
            made.user.post(f"/user/promo/{promo_id}/comments", json={"text": f"Comment number {each}"})
            made.company.patch(f"/business/promo/{promo_id}", json={"description": f"Description number {each}"})
    return made


def _refusal(response: Any) -> tuple[int, str, str]:
    body = response.json()
    return response.status_code, body["code"], body["details"][0]["pointer"]


def test_other_list(api: Api, scene: Scene) -> None:
    """A cursor is refused by every other list, by other filters and for another account."""
    paths = scene.paths()
    cursors = [scene.owner(path).get(path).headers["X-Next-Cursor"] for path in paths]
    for path in paths:
        found = {scene.owner(path).get(f"{path}&cursor={cursor}").status_code: cursor for cursor in cursors}
        assert found.keys() == {200, 400}
        assert found[200] == cursors[paths.index(path)]
        for cursor in set(cursors) - {found[200]}:
            assert _refusal(scene.owner(path).get(f"{path}&cursor={cursor}")) == _ERROR
    comments = f"/user/promo/{scene.ids[-1]}/comments"
    cursor = scene.user.get(f"{comments}?limit=2").headers["X-Next-Cursor"]
    assert _refusal(api.sign_up_user(country="fr").get(f"{comments}?cursor={cursor}")) == _ERROR
    assert _refusal(scene.user.get(f"/user/promo/{scene.ids[0]}/comments?cursor={cursor}")) == _ERROR
    assert (
        scene.user.get(f"{comments}?cursor={cursor}&limit=5").json()
        == scene.user.get(f"{comments}?offset=2&limit=5").json()
    )


def test_changed_cursor(scene: Scene) -> None:
    """A cursor that is changed, cut or empty is refused, and so is one with an offset, even 0."""
    for path in scene.paths():
        account = scene.owner(path)
        cursor = account.get(path).headers["X-Next-Cursor"]
        assert account.get(f"{path}&cursor={cursor}").status_code == 200
        other_start = "B" if cursor[0] == "A" else "A"
        for changed in (cursor[:-1], cursor[1:], cursor + "A", other_start + cursor[1:], cursor.swapcase()):
            assert _refusal(account.get(f"{path}&cursor={changed}")) == _ERROR
        for bad in ("", "a%20b", "%00", "A" * 181):
            assert _refusal(account.get(f"{path}&cursor={bad}")) == (400, "invalid_request", "/cursor")
        for offset in (0, 5):
            response = account.get(f"{path}&cursor={cursor}&offset={offset}")
            assert _refusal(response) == (400, "invalid_request", "/offset")
        assert account.get(f"{path}&cursor={cursor}&cursor={cursor}").status_code == 400


def test_link_keeps_the_filters(scene: Scene) -> None:
    """A link has the path and the parameters of the request, but no offset."""
    category = "a&b=ц, d"
    for _ in range(3):
        scene.company.create_promo(target={"categories": [category]})
    query = {"category": category, "active": "true", "limit": 1, "offset": 1}
    first = scene.user.get("/user/feed", params=query)
    [last] = walk(scene.user, str(next_page(first)))
    query["offset"] = 2
    assert last.json() == scene.user.get("/user/feed", params=query).json()
    assert "offset" not in first.headers["Link"]
    assert first.headers["Link"].isascii()
    assert next_page(scene.user.get("/user/feed", params={**query, "offset": 0, "limit": 0})) is None


def test_not_modified_page(scene: Scene) -> None:
    """A 304 has the link, too."""
    path = f"/user/feed?category={scene.category}&limit=2"
    response = scene.user.get(path)
    unchanged = scene.user.get(path, headers={"If-None-Match": response.headers["ETag"]})
    assert (unchanged.status_code, unchanged.headers["Link"]) == (304, response.headers["Link"])


def test_equal_times(scene: Scene, runtime: Runtime) -> None:
    """Entries with equal times are walked once each."""
    statements = (
        "UPDATE promos SET created_at = '2025-01-01' WHERE company_id = :company",
        "UPDATE feed_entries SET created_at = '2025-01-01' WHERE promo_id = ANY(:promos)",
        "UPDATE activations SET activated_at = '2025-01-01' WHERE promo_id = ANY(:promos)",
        "UPDATE comments SET created_at = '2025-01-01' WHERE promo_id = ANY(:promos)",
        "UPDATE likes SET quarter = '2025-01-01' WHERE promo_id = ANY(:promos)",
        (
            "WITH moved AS (DELETE FROM promo_activity WHERE promo_id = ANY(:promos) RETURNING *)"
            " INSERT INTO promo_activity SELECT promo_id, '2025-01-01', country_key, sum(activations), sum(likes),"
            " sum(comments) FROM moved GROUP BY promo_id, country_key"
        ),
    )
    with runtime.database.transaction() as connection:
        for statement in statements:
            values = {"company": scene.company.id} if ":company" in statement else {"promos": scene.ids}
            connection.execute(text(statement.replace(":promos", "CAST(:promos AS uuid[])")), values)
    for path in scene.paths():
        account = scene.owner(path)
        whole = account.get(path.replace("limit=2", "limit=100")).json()
        assert len(whole) >= _LENGTH
        assert [entry for page in walk(account, path) for entry in page.json()] == whole


def _walk_ids(account: Account, path: str, key: str, change: Callable[[], object]) -> Iterator[str]:
    """Yield the ids of a list, with a change after each page."""
    for page in walk(account, path):
        yield from (entry[key] for entry in page.json())
        change()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("active", ["", "&active=true", "&active=false"])
def test_changing_feed(scene: Scene, active: str, seed: int) -> None:
    """A walk through a feed returns each promo that stays in it once, and none twice."""
    random = seeded(seed)
    stopped = {"max_count": 0} if active == "&active=false" else {}
    for _ in range(15):
        scene.create(**stopped, target={"country": random.choice(["fr", "FR"])} if random.random() < 0.5 else {})
    path = f"/user/feed?category={scene.category}{active}"
    listed = [promo["promo_id"] for promo in scene.user.get(f"{path}&limit=100").json()]
    assert len(listed) >= 15
    touched: set[str] = set()

    def change() -> None:
        promo_id = random.choice(listed)
        kind = random.randrange(5)
        if kind == 0:
            touched.add(scene.create(**stopped))
        elif kind == 1:
            scene.company.patch(f"/business/promo/{promo_id}", json={"description": "Another description"})
        elif kind == 2:
            scene.user.post(f"/user/promo/{promo_id}/like")
        else:
            # It leaves the feed, or is in it again.
            touched.add(promo_id)
            target = {"categories": [scene.category], "country": random.choice(["de", "fr"])}
            body = {"target": target} if kind == 3 else {"max_count": random.choice([7, 1000])}
            scene.company.patch(f"/business/promo/{promo_id}", json=body)

    walked = list(_walk_ids(scene.user, f"{path}&limit={random.choice([1, 2, 3])}", "promo_id", change))
    assert len(walked) == len({*walked})
    assert [each for each in walked if each not in touched] == [each for each in listed if each not in touched]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("sort_by", ["", "&sort_by=active_from", "&sort_by=active_until"])
@pytest.mark.parametrize("countries", _COUNTRIES)
def test_changing_promos_of_a_company(scene: Scene, sort_by: str, countries: str, seed: int) -> None:
    """A walk through a company's promos returns each of the earlier promos once, while others appear and change."""
    random = seeded(seed)

    def dates() -> dict[str, Any]:
        days = random.choice([{}, {"active_from": f"2025-01-{random.randrange(10, 14)}"}])
        return {**days, **random.choice([{}, {"active_until": f"2999-01-{random.randrange(10, 14)}"}])}

    for _ in range(15):
        scene.create(**dates(), target=random.choice([{}, {"country": "ru"}, {"country": "fr"}]))
    path = f"/business/promo?{sort_by}{countries}".replace("?&", "?")
    path += "?" if "?" not in path else "" if path.endswith("?") else "&"
    listed = [promo["promo_id"] for promo in scene.company.get(f"{path}limit=100").json()]
    assert len(listed) == _LENGTH + 15

    def change() -> None:
        scene.create(**dates())
        scene.company.patch(f"/business/promo/{random.choice(listed)}", json={"description": "Another description"})

    walked = list(_walk_ids(scene.company, f"{path}limit={random.choice([1, 2, 4])}", "promo_id", change))
    assert len(walked) == len({*walked})
    assert [each for each in walked if each in {*listed}] == listed


def test_changing_comments(scene: Scene) -> None:
    """A walk through comments returns each that stays once, while others are written, changed and deleted."""
    random, path = seeded(0), f"/user/promo/{scene.ids[-1]}/comments"
    for number in range(20):
        scene.user.post(path, json={"text": f"Comment number {number}"})
    listed = [comment["id"] for comment in scene.user.get(f"{path}?limit=100").json()]
    deleted: set[str] = set()

    def change() -> None:
        scene.user.post(path, json={"text": "A new comment"})
        comment = f"{path}/{random.choice(listed)}"
        if random.random() < 0.5:
            scene.user.put(comment, json={"text": "Another text"})
        else:
            scene.user.delete(comment)
            deleted.add(comment.rpartition("/")[2])

    walked = list(_walk_ids(scene.user, f"{path}?limit=3", "id", change))
    assert len(walked) == len({*walked})
    assert [each for each in walked if each not in deleted] == [each for each in listed if each not in deleted]
    assert deleted


@pytest.mark.parametrize("path", ["/user/promo/history", "/user/activations", "/business/promo/{id}/changes"])
def test_growing_lists(scene: Scene, path: str) -> None:
    """A walk returns the earlier entries of a list that grows meanwhile, once each."""
    path = path.format(id=scene.ids[-1])
    whole = scene.owner(path).get(f"{path}?limit=100").json()
    found: list[Any] = []
    for page in walk(scene.owner(path), f"{path}?limit=2"):
        found += page.json()
        scene.user.post(f"/user/promo/{scene.ids[-2]}/activate")
        scene.company.patch(f"/business/promo/{scene.ids[-1]}", json={"description": f"Description of {len(found)}"})
    # The state of a promo in the history is the current one.
    keys = ("number", "id", "promo_id")
    assert [[entry.get(key) for key in keys] for entry in found] == [
        [entry.get(key) for key in keys] for entry in whole
    ]
