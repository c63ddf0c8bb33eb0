"""What schemathesis must know of this API beside api.yml: accounts to ask with, the rules that JSON Schema can't say,
and what belongs to whom.

schemathesis.toml names this file. It needs nothing of the project, so that anybody can test any server with it.
"""

from functools import cache
from typing import Any
from uuid import uuid4

import requests
import schemathesis
from schemathesis import AuthContext, Case, CheckContext, HookContext, Response

_PAIRS = (("age_from", "age_until"), ("active_from", "active_until"))
# No run is longer; one account of each kind for all of it, so that it meets what it made.
_RUN_S = 6 * 3600
# That of the examples in api.yml, so that it is right where these are sent.
_PASSWORD = "Sunny&2Day"


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:  # noqa: ARG001 the names are given
    """Put pairs in order: age_from must not be above age_until, nor active_from after active_until."""
    if isinstance(case.body, dict):
        for part in (case.body, case.body.get("target")):
            if isinstance(part, dict):
                _put_in_order(part)


def _put_in_order(part: dict[str, Any]) -> None:
    for first, last in _PAIRS:
        values = (part.get(first), part.get(last))
        if {type(value) for value in values} in ({int}, {str}):
            part[first], part[last] = sorted(values)


# What ends the tokens of who asks.
_ENDING = ("business_auth.sign_out", "user_auth.sign_out", "user_profile.delete_profile")


class _Account:
    """Signs up an account of its own for the run, and asks with its token."""

    path = ""
    body: dict[str, Any]

    @classmethod
    def sign_up(cls, base_url: str) -> str:
        """Return the token of a new account."""
        body = {**cls.body, "email": f"{uuid4().hex}@example.com", "password": _PASSWORD}
        answer = requests.post(f"{base_url}{cls.path}", json=body, timeout=30)
        answer.raise_for_status()
        token: str = answer.json()["token"]
        return token

    def get(self, case: Case, context: AuthContext) -> str:  # noqa: ARG002 the names are given
        """Return a token."""
        return self.sign_up(case.operation.base_url)

    def set(self, case: Case, data: str, context: AuthContext) -> None:  # noqa: ARG002 the names are given
        """Put the token into the request; one that the request may end is of an account that nobody needs any more."""
        ends = case.operation.definition.raw["operationId"] in _ENDING
        case.headers["Authorization"] = f"Bearer {self.sign_up(case.operation.base_url) if ends else data}"


@schemathesis.auth(refresh_interval=_RUN_S, retry_on=[]).apply_to(tag="B2B")
class Company(_Account):
    """A company."""

    path = "/business/auth/sign-up"
    body = {"name": "Fuzzing Company"}  # noqa: RUF012 never changed


@schemathesis.auth(refresh_interval=_RUN_S, retry_on=[]).apply_to(tag="B2C")
class User(_Account):
    """A user."""

    path = "/user/auth/sign-up"
    body = {"name": "Fuzzing", "surname": "User", "other": {"age": 30, "country": "ru"}}  # noqa: RUF012 never changed


# By what only the owner may do: the kind of the owner.
_OWNERS = {
    "business_promos.get_promo": Company,
    "business_promos.update_promo": Company,
    "business_promos.get_promo_stat": Company,
    "business_promos.list_changes": Company,
    "user_comments.update_comment": User,
}
_stranger = cache(lambda kind, base_url: kind.sign_up(base_url))


@schemathesis.check
def ownership(ctx: CheckContext, response: Response, case: Case) -> None:  # noqa: ARG001 the names are given
    """What the owner was just allowed to do is refused to another account of the same kind.

    The check object_level_authorization is about that too, but asks only with accounts that a file names and that exist
    before the run.
    """
    kind = _OWNERS.get(case.operation.definition.raw["operationId"])
    if kind is None or not 200 <= response.status_code < 300:
        return
    sent = response.request
    headers = {**sent.headers, "Authorization": f"Bearer {_stranger(kind, case.operation.base_url)}"}
    answer = requests.request(str(sent.method), str(sent.url), data=sent.body, headers=headers, timeout=30)
    assert answer.status_code == 403, f"A stranger did the same, and the answer was {answer.status_code}"
