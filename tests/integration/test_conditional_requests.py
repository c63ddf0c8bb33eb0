"""Conditional requests: If-None-Match on every GET, and If-Match on changes of promos, profiles and comments."""

from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api
from tests.integration.test_codes import finish
from tests.integration.webhook_rows import create_webhook
from tests.operations import OPERATIONS

# The rejected rows are only a stream.
_WITHOUT_TAG = ("health.ping", "health.get_health", "business_jobs.list_job_errors")
GETS = [each for each in OPERATIONS if each.method == "GET" and each.id not in _WITHOUT_TAG]
OTHER = '"0123456789abcdef.0123456789abcdef0123456789abcdef"'
TEXT = {"text": "The coffee was good"}


class World(NamedTuple):
    """A promo of a company, which a user liked, activated and commented on."""

    company: Account
    user: Account
    promo: str
    comment: str
    job: str
    redemption: str
    webhook: str

    def path(self, template: str) -> str:
        """Return the path of these resources."""
        ids = {"/jobs/": self.job, "/redemptions/": self.redemption, "/webhooks/": self.webhook}
        id_of_path = next((each for part, each in ids.items() if part in template), self.promo)
        return template.replace("{id}", id_of_path).replace("{comment_id}", self.comment)


@pytest.fixture
def world(api: Api, runtime: Runtime) -> World:
    """A promo with a comment."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo = company.create_promo()
    comment = user.post(f"/user/promo/{promo}/comments", json=TEXT).json()["id"]
    for action in ("like", "activate"):
        assert user.post(f"/user/promo/{promo}/{action}").status_code == 200
    unique = company.create_promo(promo_unique=["one"])
    job = finish(runtime, company, company.post(f"/business/promo/{unique}/codes", json=["two"]))
    redemption = company.post("/business/redemptions", json={"code": "half-price"}).json()
    webhook = create_webhook(company)
    return World(company, user, promo, comment, job["id"], redemption["id"], webhook["id"])


class Change(NamedTuple):
    """A request that accepts If-Match.

    Attributes:
        kind: of the account.
        method: of the request.
        path: of the resource, for GET too.
        body: None if there is none.
    """

    kind: str
    method: str
    path: str
    body: dict[str, Any] | None

    def send(self, world: World, if_match: str | None = None, **request: Any) -> Any:
        """Send the request."""
        account = world.company if self.kind == "company" else world.user
        headers = {} if if_match is None else {"If-Match": if_match}
        body = {} if self.body is None else {"json": self.body}
        arguments = {"token": account.token, "headers": headers} | body | request
        return account.api.call(self.method, world.path(self.path), **arguments)

    def get(self, world: World) -> Any:
        """Read the resource."""
        account = world.company if self.kind == "company" else world.user
        return account.get(world.path(self.path))


PROMO, COMMENT = "/business/promo/{id}", "/user/promo/{id}/comments/{comment_id}"
CHANGES = {
    "business_promos.update_promo": Change("company", "PATCH", PROMO, {"description": "Another description"}),
    "business_profile.update_profile": Change("company", "PATCH", "/business/profile", {"name": "Another name"}),
    "user_profile.update_profile": Change("user", "PATCH", "/user/profile", {"surname": "Another"}),
    "user_profile.delete_profile": Change("user", "DELETE", "/user/profile", {"password": PASSWORD}),
    "user_comments.update_comment": Change("user", "PUT", COMMENT, {"text": "It was cold after all"}),
    "user_comments.delete_comment": Change("user", "DELETE", COMMENT, None),
}
every_change = pytest.mark.parametrize("name", CHANGES)


def _change_first(world: World, change: Change) -> None:
    """Change the resource, as another client does it."""
    other = next(each for each in CHANGES.values() if each.path == change.path)
    assert other.send(world).status_code == 200


def test_every_change_is_listed() -> None:
    """The list has every operation with If-Match."""
    reference = {"$ref": "#/components/parameters/IfMatch"}
    assert {each.id for each in OPERATIONS if reference in each.declared.get("parameters", [])} == {*CHANGES}


@pytest.mark.parametrize("operation", GETS, ids=lambda each: each.id)
def test_unchanged_response(world: World, operation: Any) -> None:
    """Every GET has an entity tag; with it, the next GET or HEAD is a 304, until the response changes."""
    account = world.company if operation.account == "company" else world.user
    path = world.path(operation.path)
    first = account.get(path)
    tag = first.headers["etag"]
    for method in ("GET", "HEAD"):
        response = account.api.call(method, path, token=account.token, headers={"If-None-Match": f'"x", {tag}'})
        assert (response.status_code, response.headers["etag"]) == (304, tag)
        assert response.headers["cache-control"] == first.headers["cache-control"]
        assert response.headers.get("x-total-count") == first.headers.get("x-total-count")
    response = account.get(path, headers={"If-None-Match": OTHER})
    assert (response.status_code, response.json()) == (200, first.json())


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_state_of_the_service(api: Api, path: str) -> None:
    """The state of the service has no entity tag."""
    response = api.call("GET", path, headers={"If-None-Match": "*"})
    assert (response.status_code, "etag" in response.headers) == (200, False)


def test_changed_responses(world: World) -> None:
    """An action of a user changes the tags of the responses that show it."""
    paths = [(world.user, "/user/feed"), (world.user, "/user/promo/{id}"), (world.company, PROMO)]
    before = [account.get(world.path(path)).headers["etag"] for account, path in paths]
    assert world.user.delete(f"/user/promo/{world.promo}/like").status_code == 200
    for (account, path), tag in zip(paths, before, strict=True):
        response = account.get(world.path(path), headers={"If-None-Match": tag})
        assert (response.status_code, response.headers["etag"] != tag) == (200, True)


@pytest.mark.parametrize("name", [name for name, change in CHANGES.items() if change.method != "DELETE"])
def test_tag_of_a_change(world: World, name: str) -> None:
    """The response to a change has the entity tag of the next GET."""
    change = CHANGES[name]
    changed = change.send(world)
    assert changed.headers["etag"] == change.get(world).headers["etag"]


def test_tag_of_a_new_comment(world: World) -> None:
    """A new comment has its entity tag, also in a replayed response."""
    path, key = f"/user/promo/{world.promo}/comments", {"Idempotency-Key": str(uuid4())}
    created, replayed = (world.user.post(path, json=TEXT, headers=key) for _ in range(2))
    tag = world.user.get(f"{path}/{created.json()['id']}").headers["etag"]
    assert created.headers["etag"] == replayed.headers["etag"] == tag
    assert replayed.headers["idempotent-replayed"] == "true"
    assert world.user.put(f"{path}/{created.json()['id']}", json=TEXT, headers={"If-Match": tag}).status_code == 200


@every_change
@pytest.mark.parametrize("condition", ["*", "{}", '"a", {}', "{0} ,\t{0}"])
def test_matching_conditions(world: World, name: str, condition: str) -> None:
    """With the tag of the resource, or with `*`, the change succeeds."""
    tag = CHANGES[name].get(world).headers["etag"]
    assert CHANGES[name].send(world, condition.format(tag)).status_code == 200


@every_change
@pytest.mark.parametrize("condition", ["{}", OTHER, "W/{}", '""', '"a", W/"b"'])
def test_other_conditions(world: World, name: str, condition: str) -> None:
    """With the tag of an earlier version, or another or weak tag, the change is a 412 and has no effect."""
    change = CHANGES[name]
    tag = change.get(world).headers["etag"]
    if condition == "{}":
        _change_first(world, change)
    before = change.get(world)
    response = change.send(world, condition.format(tag))
    assert (response.status_code, response.json()["code"]) == (412, "precondition_failed")
    assert change.get(world).json() == before.json()
    assert change.send(world).status_code == 200


@every_change
@pytest.mark.parametrize("condition", ["", "a", "0", '"a', 'w/"a"', "*, *", '"a" "b"', "x" * 1001])
def test_malformed_conditions(world: World, name: str, condition: str) -> None:
    """A malformed If-Match is a 400 with its name, and has no effect."""
    change = CHANGES[name]
    before = change.get(world)
    response = change.send(world, condition)
    assert response.status_code == 400
    assert {(each["in"], each["pointer"]) for each in response.json()["details"]} == {("header", "/If-Match")}
    assert change.get(world).json() == before.json()


@pytest.mark.parametrize(
    "name", ["business_profile.update_profile", "business_promos.update_promo", "user_profile.update_profile"]
)
def test_empty_change(world: World, name: str) -> None:
    """A change of nothing is checked too."""
    change = CHANGES[name]._replace(body={})
    tag = change.get(world).headers["etag"]
    assert change.send(world, OTHER).status_code == 412
    assert (change.send(world, tag).status_code, change.get(world).headers["etag"]) == (200, tag)


@every_change
def test_change_back(world: World, name: str) -> None:
    """The tag stands for the values: a resource that was changed and changed back has its tag again."""
    change = CHANGES[name]
    before = change.get(world)
    other = next(each for each in CHANGES.values() if each.path == change.path)
    _change_first(world, change)
    back = {member: before.json()[member] for member in other.body or {}}
    assert other._replace(body=back).send(world).status_code == 200
    assert change.get(world).headers["etag"] == before.headers["etag"]
    assert change.send(world, before.headers["etag"]).status_code == 200


def test_counters_do_not_matter(world: World) -> None:
    """Activations and likes change the tag of a promo, but do not fail a change with the earlier tag."""
    change = CHANGES["business_promos.update_promo"]
    tag = change.get(world).headers["etag"]
    for action in ("like", "activate"):
        assert world.user.post(f"/user/promo/{world.promo}/{action}").status_code == 200
    assert change.get(world).headers["etag"] != tag
    assert change.send(world, tag).status_code == 200


def test_author_does_not_matter(world: World) -> None:
    """A new name of the author changes the tag of a comment, but does not fail a change with the earlier tag."""
    change = CHANGES["user_comments.update_comment"]
    tag = change.get(world).headers["etag"]
    assert world.user.patch("/user/profile", json={"name": "Bob"}).status_code == 200
    assert change.get(world).headers["etag"] != tag
    assert change.send(world, tag).status_code == 200


def test_password_does_not_matter(world: World) -> None:
    """A new password does not change the tag of a profile, which does not show it."""
    tag = world.user.get("/user/profile").headers["etag"]
    password = {"password": "An0ther&Password"}
    for _ in range(2):
        assert world.user.patch("/user/profile", json=password, headers={"If-Match": tag}).status_code == 200


def test_every_changeable_member_matters(world: World) -> None:
    """A change of any member that clients can change is a new version."""
    changes: list[tuple[str, dict[str, Any]]] = [
        ("business_promos.update_promo", {"description": "Another description"}),
        ("business_promos.update_promo", {"image_url": "https://a.example/b.png"}),
        ("business_promos.update_promo", {"target": {"categories": ["food"]}}),
        ("business_promos.update_promo", {"max_count": 77}),
        ("business_promos.update_promo", {"active_from": "2025-01-10"}),
        ("business_promos.update_promo", {"active_until": "2999-01-10"}),
        ("business_profile.update_profile", {"name": "Another"}),
        ("user_profile.update_profile", {"name": "Another"}),
        ("user_profile.update_profile", {"surname": "Another"}),
        ("user_profile.update_profile", {"avatar_url": "https://a.example/b.png"}),
        ("user_comments.update_comment", {"text": "It was cold after all"}),
    ]
    for name, body in changes:
        change = CHANGES[name]._replace(body=body)
        tag = change.get(world).headers["etag"]
        assert change.send(world, tag).status_code == 200
        assert change.send(world, tag).status_code == 412, body


def test_order_of_errors(world: World, api: Api) -> None:
    """401, 400, 404 and 403 outrank 412, which outranks a conflict with the stored promo."""
    change = CHANGES["business_promos.update_promo"]
    assert change.send(world, OTHER, token="none").status_code == 401
    assert change.send(world, OTHER, json={"max_count": -1}).status_code == 400
    missing, other = world._replace(promo=str(uuid4())), world._replace(company=api.sign_up_company())
    assert change.send(missing, OTHER).status_code == 404
    assert change.send(other, OTHER).status_code == 403
    assert change.send(world, OTHER, json={"max_count": 0}).status_code == 412
    conflict = change.send(world, json={"max_count": 0})
    assert (conflict.status_code, conflict.json()["code"]) == (400, "promo_conflict")
    stranger = world._replace(user=api.sign_up_user())
    for name in ("user_comments.update_comment", "user_comments.delete_comment"):
        assert CHANGES[name].send(world, OTHER, token="none").status_code == 401
        assert CHANGES[name].send(missing, OTHER).status_code == 404
        assert CHANGES[name].send(stranger, OTHER).status_code == 403
        assert CHANGES[name].send(world, OTHER).status_code == 412
    deletion = CHANGES["user_profile.delete_profile"]
    assert deletion.send(world, OTHER, json={"password": "Wr0ng&Password"}).status_code == 403
    assert deletion.send(world, OTHER).status_code == 412


def test_condition_is_never_required(world: World) -> None:
    """Without If-Match every change succeeds."""
    statuses = {name: change.send(world).status_code for name, change in CHANGES.items() if change.kind == "company"}
    statuses |= {name: CHANGES[name].send(world).status_code for name in CHANGES if name.startswith("user_comments")}
    statuses |= {name: CHANGES[name].send(world).status_code for name in CHANGES if name.startswith("user_profile")}
    assert statuses == dict.fromkeys(CHANGES, 200)


def test_other_methods_ignore_the_condition(world: World) -> None:
    """If-None-Match concerns GET and HEAD only, and If-Match no GET."""
    change = CHANGES["business_promos.update_promo"]
    assert change.send(world, headers={"If-None-Match": "*"}).status_code == 200
    assert world.company.get(world.path(PROMO), headers={"If-Match": OTHER}).status_code == 200
