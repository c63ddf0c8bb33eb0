"""Access to data of another account of the same kind, for every operation of api.yml."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api, company_body, user_body
from tests.integration.test_codes import finish
from tests.integration.test_refusals import BODIES, DECLARED
from tests.integration.webhook_rows import create_webhook
from tests.key_matrix import create_key, key_header


class Access(Enum):
    """What an operation lets an account do with data of another account.

    Attributes:
        REFUSED: nothing. The response is 403, and no count changes.
        OWN: nothing, because a request cannot address it: the operation reads and changes only the caller's data.
        HIDDEN: nothing. The response is 404, as if it did not exist.
        TOKEN: nothing. The response is 400, because the operation needs the token of a mail to the owner.
        UNKNOWN: nothing. The response is 409, as if there were no such code.
        SHARED: what each user may do with any promo or comment. It changes the caller's data and counts.
    """

    REFUSED = "refused"
    OWN = "own"
    HIDDEN = "hidden"
    TOKEN = "token"
    UNKNOWN = "unknown"
    SHARED = "shared"


ACCESS = {
    "business_auth.sign_up": Access.OWN,
    "business_auth.sign_in": Access.OWN,
    "business_auth.sign_out": Access.OWN,
    "business_keys.create_key": Access.OWN,
    "business_keys.list_keys": Access.OWN,
    "business_keys.delete_key": Access.HIDDEN,
    "business_auth.forgot_password": Access.OWN,
    "business_auth.reset_password": Access.TOKEN,
    "business_profile.get_profile": Access.OWN,
    "business_profile.update_profile": Access.OWN,
    "business_promos.create_promo": Access.OWN,
    "business_promos.list_promos": Access.OWN,
    "business_promos.get_promo": Access.REFUSED,
    "business_promos.update_promo": Access.REFUSED,
    "business_promos.get_promo_stat": Access.REFUSED,
    "business_series.get_promo_series": Access.REFUSED,
    "business_series.get_company_series": Access.OWN,
    "business_promos.list_changes": Access.REFUSED,
    "business_comments.list_comments": Access.REFUSED,
    "business_comments.get_comment": Access.REFUSED,
    "business_comments.delete_comment": Access.REFUSED,
    "business_comments.list_reports": Access.REFUSED,
    "business_codes.list_codes": Access.REFUSED,
    "business_codes.append_codes": Access.REFUSED,
    "business_codes.generate_codes": Access.REFUSED,
    "business_jobs.list_jobs": Access.OWN,
    "business_jobs.get_job": Access.HIDDEN,
    "business_jobs.list_job_errors": Access.HIDDEN,
    "business_redemptions.validate_code": Access.OWN,
    "business_redemptions.create_redemption": Access.UNKNOWN,
    "business_redemptions.list_redemptions": Access.OWN,
    "business_redemptions.get_redemption": Access.HIDDEN,
    "business_redemptions.confirm_redemption": Access.HIDDEN,
    "business_redemptions.release_redemption": Access.HIDDEN,
    "business_redemptions.void_redemption": Access.HIDDEN,
    "business_events.list_events": Access.OWN,
    "business_webhooks.create_webhook": Access.OWN,
    "business_webhooks.list_webhooks": Access.OWN,
    "business_webhooks.get_webhook": Access.HIDDEN,
    "business_webhooks.update_webhook": Access.HIDDEN,
    "business_webhooks.delete_webhook": Access.HIDDEN,
    "business_webhooks.rotate_secret": Access.HIDDEN,
    "business_webhooks.send_test": Access.HIDDEN,
    "business_webhooks.list_deliveries": Access.HIDDEN,
    "business_webhooks.redeliver": Access.HIDDEN,
    "user_auth.sign_up": Access.OWN,
    "user_auth.sign_in": Access.OWN,
    "user_auth.sign_out": Access.OWN,
    "user_auth.forgot_password": Access.OWN,
    "user_auth.reset_password": Access.TOKEN,
    "user_profile.get_profile": Access.OWN,
    "user_profile.update_profile": Access.OWN,
    "user_profile.delete_profile": Access.OWN,
    "user_export.get_export": Access.OWN,
    "user_promos.list_feed": Access.SHARED,
    "user_activations.list_history": Access.OWN,
    "user_activations.list_activations": Access.OWN,
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
    "user_comments.report_comment": Access.SHARED,
}
_DENIED = (Access.REFUSED, Access.HIDDEN, Access.UNKNOWN)
# A stream of lines.
_ERRORS = "/business/jobs/{id}/errors"
OF_ACCOUNTS = [
    (method, path, operation) for method, path, operation in DECLARED if operation["security"] or "/auth/" in path
]
_FOR_KEYS = [each for each in OF_ACCOUNTS if {"companyKey": []} in each[2]["security"]]
# Counts, and responses, that actions of any user change.
COUNTS = {
    "business_codes.list_codes",
    "business_comments.list_reports",
    "business_series.get_promo_series",
    "business_series.get_company_series",
    "like_count",
    "comment_count",
    "used_count",
    "activations_count",
    "reports_count",
}


@dataclass(frozen=True)
class Owned:
    """A promo of a company, which a user liked, activated and commented on.

    Attributes:
        owners: the company and the user, by the first segment of their paths.
        strangers: another company and another user.
        ids: of the promo and the comment, by their names in paths.
        job_id: of a job that has added codes to the promo.
        key_id: of an API key.
        held_id, redeemed_id: of redemptions.
        webhook_id: of a webhook.
        secret: values that no stranger may see.
        public: values of the owners that users may see on a promo.
    """

    owners: dict[str, Account]
    strangers: dict[str, Account]
    ids: dict[str, str]
    job_id: str
    key_id: str
    held_id: str
    redeemed_id: str
    webhook_id: str
    secret: list[str]
    public: list[str]

    def path(self, template: str) -> str:
        """Return a path to what the owners have."""
        others = {"jobs": self.job_id, "keys": self.key_id, "redemptions": self.held_id, "webhooks": self.webhook_id}
        if template.endswith("/void"):
            return template.format(id=self.redeemed_id)
        return template.format(**self.ids | {"id": others.get(template.split("/")[2], self.ids["id"])})


@pytest.fixture
def owned(api: Api, runtime: Runtime) -> Owned:
    """A promo and a comment with their owners, and another account of each kind."""
    company, user = api.sign_up_company(name="Owner of a promo"), api.sign_up_user(name="Owner of a comment")
    codes = [f"owners-code-{n}" for n in range(5)]
    promo_id = company.create_promo(promo_unique=codes, description="A promo of its owner")
    path = f"/user/promo/{promo_id}"
    issued = user.post(f"{path}/activate").json()["promo"]
    assert user.post(f"{path}/like").status_code == 200
    comment_id = user.post(f"{path}/comments", json={"text": "A comment of its owner"}).json()["id"]
    report = {"reason": "other"}
    assert api.sign_up_user().post(f"{path}/comments/{comment_id}/report", json=report).status_code == 200
    job = finish(runtime, company, company.post(f"/business/promo/{promo_id}/codes", json=["owners-code-5"]))
    key = company.post("/business/keys", json={"name": "Shop", "scopes": ["read"]}).json()
    for _ in range(2):
        assert user.post(f"{path}/activate").status_code == 200
    redeemed = company.post("/business/redemptions", json={"code": "owners-code-1"}).json()
    held = company.post("/business/redemptions", json={"code": "owners-code-2", "hold_s": 600}).json()
    webhook = create_webhook(company)
    return Owned(
        owners={"business": company, "user": user},
        strangers={"business": api.sign_up_company(), "user": api.sign_up_user()},
        ids={"id": promo_id, "comment_id": comment_id},
        job_id=job["id"],
        key_id=key["id"],
        held_id=held["id"],
        redeemed_id=redeemed["id"],
        webhook_id=webhook["id"],
        secret=[
            *(job["id"], key["id"], key["key"], held["id"], redeemed["id"], webhook["id"], webhook["secret"]),
            *(company.body["email"], user.body["email"], issued),
        ],
        public=[promo_id, comment_id, company.id, "owner of", "of its owner", "owners-code"],
    )


def _label(parameter: Any) -> str:
    """Return the label of a test parameter."""
    return str(parameter["operationId"]) if isinstance(parameter, dict) else str(parameter)


def _kind(template: str) -> str:
    return template.split("/")[1]


def _request(operation: dict[str, Any], account: Account) -> dict[str, Any]:
    """Return an otherwise valid request; KeyError if no body is known."""
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
    """Return every response that an owner can read, by operationId."""
    view: dict[str, Any] = {}
    for method, template, operation in DECLARED:
        if method == "GET" and operation["security"] and _kind(template) == kind:
            response = owned.owners[kind].get(owned.path(template))
            assert response.status_code == 200, f"{operation['operationId']}: {response.text}"
            view[operation["operationId"]] = response.json() if template != _ERRORS else response.text
    return view


def _views(owned: Owned, template: str) -> list[dict[str, Any]]:
    """Return the views of the owners that an operation could change; users change what companies see, too."""
    return [_view(owned, kind) for kind in ({"business"} if _kind(template) == "business" else owned.owners)]


def _private_part(view: Any, added: set[str]) -> Any:
    """Return a view without counts and without list entries that were added, by id."""
    if isinstance(view, dict):
        return {name: _private_part(value, added) for name, value in view.items() if name not in COUNTS}
    if isinstance(view, list):
        return [
            _private_part(each, added) for each in view if not isinstance(each, dict) or each.get("id") not in added
        ]
    return view


def test_table_covers_every_operation() -> None:
    """The access table covers each operation that needs or creates an account."""
    assert ACCESS.keys() == {operation["operationId"] for _, _, operation in OF_ACCOUNTS}


@pytest.mark.parametrize(("method", "template", "operation"), OF_ACCOUNTS, ids=_label)
def test_another_account(api: Api, owned: Owned, method: str, template: str, operation: dict[str, Any]) -> None:
    """Another account sees nothing private of the owner, and changes nothing that the owner has."""
    token = owned.strangers[_kind(template)].token if operation["security"] else None
    _assert_denied(api, owned, method, template, operation, token=token)


@pytest.mark.parametrize(("method", "template", "operation"), _FOR_KEYS, ids=_label)
def test_key_of_another_company(api: Api, owned: Owned, method: str, template: str, operation: dict[str, Any]) -> None:
    """A key with all scopes opens no more of another company than a token does."""
    key = create_key(owned.strangers["business"])["key"]
    _assert_denied(api, owned, method, template, operation, headers=key_header(key))


def _assert_denied(
    api: Api, owned: Owned, method: str, template: str, operation: dict[str, Any], **credentials: Any
) -> None:
    """Assert that the credentials of a stranger have only the access of the table."""
    stranger, access = owned.strangers[_kind(template)], ACCESS[operation["operationId"]]
    before = _views(owned, template)
    response = api.call(method, owned.path(template), **credentials, **_request(operation, stranger))
    statuses = {Access.REFUSED: {403}, Access.HIDDEN: {404}, Access.TOKEN: {400}, Access.UNKNOWN: {409}}
    expected = statuses.get(access, {200, 201})
    assert response.status_code in expected, response.text
    hidden = owned.secret + (owned.public if access is not Access.SHARED else [])
    content = f"{response.text} {response.headers}".lower()
    assert [each for each in hidden if each.lower() in content] == []
    after = _views(owned, template)
    if access in _DENIED:
        assert after == before
    else:
        added = {response.json()["id"]} if response.status_code == 201 else set[str]()
        assert _private_part(after, added) == _private_part(before, set())


@pytest.mark.parametrize(
    ("method", "template", "operation"),
    [each for each in OF_ACCOUNTS if ACCESS.get(each[2]["operationId"]) in _DENIED],
    ids=_label,
)
def test_owner_is_allowed(owned: Owned, method: str, template: str, operation: dict[str, Any]) -> None:
    """The same request of the owner succeeds, so the stranger is refused for lack of ownership only."""
    owner = owned.owners[_kind(template)]
    response = owner.api.call(method, owned.path(template), token=owner.token, **_request(operation, owner))
    assert response.status_code in (200, 201, 202)


@pytest.mark.parametrize(("method", "template", "operation"), _FOR_KEYS, ids=_label)
def test_key_of_the_owner(api: Api, owned: Owned, method: str, template: str, operation: dict[str, Any]) -> None:
    """A valid request with a key of the owner succeeds if the key has the scope of the operation and no other."""
    owner = owned.owners["business"]
    key = create_key(owner, scopes=[operation["x-key-scope"]])["key"]
    response = api.call(method, owned.path(template), headers=key_header(key), **_request(operation, owner))
    assert response.status_code in (200, 201, 202), response.text
