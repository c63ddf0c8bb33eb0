"""What schemathesis must know of this API beside api.yml: accounts to ask with, and the rules that JSON Schema can't
say.

schemathesis.toml names this file. It needs nothing of the project, so that anybody can test any server with it.
"""

from typing import Any
from uuid import uuid4

import requests
import schemathesis
from schemathesis import AuthContext, Case, HookContext

_PAIRS = (("age_from", "age_until"), ("active_from", "active_until"))
# No run is longer; one account of each kind for all of it, so that it meets what it made.
_RUN_S = 6 * 3600
_PASSWORD = "Fuzzing1s!fun"


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


class _Account:
    """Signs up an account of its own for the run, and asks with its token."""

    path = ""
    body: dict[str, Any]

    def get(self, case: Case, context: AuthContext) -> str:  # noqa: ARG002 the names are given
        """Return a token."""
        body = {**self.body, "email": f"{uuid4().hex}@example.com", "password": _PASSWORD}
        answer = requests.post(f"{case.operation.base_url}{self.path}", json=body, timeout=30)
        answer.raise_for_status()
        token: str = answer.json()["token"]
        return token

    def set(self, case: Case, data: str, context: AuthContext) -> None:  # noqa: ARG002 the names are given
        """Put the token into the request."""
        case.headers["Authorization"] = f"Bearer {data}"


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
