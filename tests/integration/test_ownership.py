"""What belongs to one account, asked for by another one of its kind: every operation of api.yml, and none forgotten."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from tests.accounts import PASSWORD, Account, Api, company_body, user_body
from tests.integration.test_refusals import BODIES, OPERATIONS


class Access(Enum):
    """What an operation lets an account do with what is another's.

    Attributes:
        REFUSED: nothing. The answer is 403, and not even a count changes.
        OWN: nothing, for it can't be named: what the answer tells, and what changes, is the asker's own.
        SHARED: what each user may do with any promo, or any comment. It counts for the asker and for nobody else.
    """

    REFUSED = "refused"
    OWN = "own"
    SHARED = "shared"


ACCESS = {
    "business_auth.sign_up": Access.OWN,
    "business_auth.sign_in": Access.OWN,
    "business_auth.sign_out": Access.OWN,
    "business_promos.create_promo": Access.OWN,
    "business_promos.list_promos": Access.OWN,
    "business_promos.get_promo": Access.REFUSED,
    "business_promos.update_promo": Access.REFUSED,
    "business_promos.get_promo_stat": Access.REFUSED,
    "business_promos.list_changes": Access.REFUSED,
    "user_auth.sign_up": Access.OWN,
    "user_auth.sign_in": Access.OWN,
    "user_auth.sign_out": Access.OWN,
    "user_profile.get_profile": Access.OWN,
    "user_profile.update_profile": Access.OWN,
    "user_profile.delete_profile": Access.OWN,
    "user_export.get_export": Access.OWN,
    "user_promos.list_feed": Access.SHARED,
    "user_activations.list_history": Access.OWN,
    "user_promos.get_promo": Access.SHARED,
    "user_activations.activate_promo": Access.SHARED,
    "user_activations.get_eligibility": Access.SHARED,
    "user_likes.like_promo": Access.SHARED,
    "user_likes.unlike_promo": Access.SHARED,
    "user_comments.create_comment": Access.SHARED,
    "user_comments.list_comments": Access.SHARED,
    "user_comments.get_comment": Access.SHARED,
    "user_comments.update_comment": Access.REFUSED,
    "user_comments.delete_comment": Access.REFUSED,
}
OF_ACCOUNTS = [
    (method, path, operation) for method, path, operation in OPERATIONS if operation["security"] or "/auth/" in path
]
# What everybody's doings add up to, in the view of whoever may see it.
COUNTS = {"like_count", "comment_count", "used_count", "activations_count"}


@dataclass(frozen=True)
class Owned:
    """A company's promo that a user has liked, activated and commented on.

    Attributes:
        owners: the company and the user, by the first part of the path of what they may ask for.
        strangers: another company and another user.
        ids: of the promo and the comment, by their names in paths.
        secret: what no stranger may ever see.
        theirs: what is the owners' as well, though a user may come across it on a promo.
    """

    owners: dict[str, Account]
    strangers: dict[str, Account]
    ids: dict[str, str]
    secret: list[str]
    theirs: list[str]


@pytest.fixture
def owned(api: Api) -> Owned:
    """Things of a company and a user, with two strangers who could do the same as they can."""
    company, user = api.sign_up_company(name="Owner of a promo"), api.sign_up_user(name="Owner of a comment")
    codes = [f"owners-code-{n}" for n in range(5)]
    promo_id = company.create_promo(promo_unique=codes, description="A promo of its owner")
    path = f"/user/promo/{promo_id}"
    issued = user.post(f"{path}/activate").json()["promo"]
    assert user.post(f"{path}/like").status_code == 200
    comment_id = user.post(f"{path}/comments", json={"text": "A comment of its owner"}).json()["id"]
    return Owned(
        owners={"business": company, "user": user},
        strangers={"business": api.sign_up_company(), "user": api.sign_up_user()},
        ids={"id": promo_id, "comment_id": comment_id},
        secret=[company.body["email"], user.body["email"], issued],
        theirs=[promo_id, comment_id, company.id, "owner of", "of its owner", "owners-code"],
    )


def _name(parameter: Any) -> str:
    """Return what a parameter of a test is shown by."""
    return str(parameter["operationId"]) if isinstance(parameter, dict) else str(parameter)


def _kind(template: str) -> str:
    return template.split("/")[1]


def _request(operation: dict[str, Any], account: Account) -> dict[str, Any]:
    """Return the body of a request that is right in every other respect; KeyError if none is known."""
    if "requestBody" not in operation:
        return {}
    own = {"email": account.body["email"], "password": PASSWORD}
    bodies = BODIES | {
        "business_auth.sign_up": company_body(),
        "business_auth.sign_in": own,
        "user_auth.sign_up": user_body(),
        "user_auth.sign_in": own,
        "business_promos.update_promo": {"description": "A promo of another company"},
    }
    return {"json": bodies[operation["operationId"]]}


def _view(owned: Owned, kind: str) -> dict[str, Any]:
    """Return all that an owner can read, by operationId."""
    view: dict[str, Any] = {}
    for method, template, operation in OPERATIONS:
        if method == "GET" and operation["security"] and _kind(template) == kind:
            answer = owned.owners[kind].get(template.format(**owned.ids))
            assert answer.status_code == 200, f"{operation['operationId']}: {answer.text}"
            view[operation["operationId"]] = answer.json()
    return view


def _views(owned: Owned, template: str) -> list[dict[str, Any]]:
    """Return what the owners see that an operation could change: users change what companies see, too."""
    return [_view(owned, kind) for kind in ({"business"} if _kind(template) == "business" else owned.owners)]


def _private(view: Any, added: set[str]) -> Any:
    """Return a view without counts, and without what has been added to lists, by id."""
    if isinstance(view, dict):
        return {name: _private(value, added) for name, value in view.items() if name not in COUNTS}
    if isinstance(view, list):
        return [_private(each, added) for each in view if not isinstance(each, dict) or each.get("id") not in added]
    return view


def test_no_operation_is_forgotten() -> None:
    """Each operation that needs an account, or makes one, says here whose things it is about."""
    assert ACCESS.keys() == {operation["operationId"] for _, _, operation in OF_ACCOUNTS}


@pytest.mark.parametrize(("method", "template", "operation"), OF_ACCOUNTS, ids=_name)
def test_another_account(api: Api, owned: Owned, method: str, template: str, operation: dict[str, Any]) -> None:
    """Another account sees nothing that is the owner's alone, and changes nothing that the owner has."""
    stranger, access = owned.strangers[_kind(template)], ACCESS[operation["operationId"]]
    token = stranger.token if operation["security"] else None
    before = _views(owned, template)
    answer = api.call(method, template.format(**owned.ids), token=token, **_request(operation, stranger))
    assert (answer.status_code == 403) == (access is Access.REFUSED), answer.text
    assert answer.status_code in (200, 201, 403), answer.text
    hidden = owned.secret + (owned.theirs if access is not Access.SHARED else [])
    told = f"{answer.text} {answer.headers}".lower()
    assert [each for each in hidden if each.lower() in told] == []
    after = _views(owned, template)
    if access is Access.REFUSED:
        assert after == before
    else:
        added = {answer.json()["id"]} if answer.status_code == 201 else set[str]()
        assert _private(after, added) == _private(before, set())


@pytest.mark.parametrize(
    ("method", "template", "operation"),
    [each for each in OF_ACCOUNTS if ACCESS.get(each[2]["operationId"]) is Access.REFUSED],
    ids=_name,
)
def test_owner_may(owned: Owned, method: str, template: str, operation: dict[str, Any]) -> None:
    """What is refused to the stranger is refused for who they are: the owner's same request succeeds."""
    owner = owned.owners[_kind(template)]
    answer = owner.api.call(method, template.format(**owned.ids), token=owner.token, **_request(operation, owner))
    assert answer.status_code == 200
