"""Hooks for schemathesis: accounts, the rules that JSON Schema cannot express, and a check of ownership.

schemathesis.toml names this file. It imports nothing of the project, so it can be used with any server.
"""

import re
from functools import cache
from typing import Any
from urllib.parse import urljoin
from uuid import uuid4

import requests
import schemathesis
from hypothesis import strategies
from schemathesis import AuthContext, Case, CheckContext, HookContext, Response, SerializationContext

_INTERNATIONAL = re.compile(r"\.xn--[^.@]*$", re.IGNORECASE)
_CONDITIONS = {"If-Match": "*", "If-None-Match": '"0"'}
_PAIRS = (("age_from", "age_until"), ("active_from", "active_until"), ("from", "to"))
# Longer than any run. One account of each kind serves a whole run, so that requests find earlier resources.
_RUN_S = 6 * 3600
# The password of the examples in api.yml, because schemathesis sends them.
_PASSWORD = "Sunny&2Day"
# Two words, short enough for a category and long enough for a description. The fillers are letters, but blank.
_CHARACTERS = strategies.characters(
    exclude_categories=["C", "M", "Z"], exclude_characters="\u115f\u1160\u2800\u3164\uffa0"
)
_WORDS = strategies.text(_CHARACTERS, min_size=5, max_size=9)
schemathesis.openapi.format("visible-text", strategies.builds("{} {}".format, _WORDS, _WORDS))


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:  # noqa: ARG001 schemathesis passes arguments by name
    """Sort pairs: `age_from` must not be greater than `age_until`, nor `active_from` later than `active_until`.

    Schemathesis regards an address as invalid if its international domain cannot be decoded, which the server does not
    try. Send another invalid address instead.

    Send webhooks to https, because http is refused unless a setting allows it.

    Make conditions valid: the coverage phase puts no quotes into headers, and sends 0 as a valid entity tag.

    Leave out the cursors of positive requests, because only the server issues valid ones. `next_page` follows those.

    Leave out API keys: each request has a token, and both together are refused.
    """
    case.headers.pop("X-Api-Key", None)
    if case.meta is not None and case.meta.generation.mode.is_positive:
        (case.query or {}).pop("cursor", None)
        for name, valid in _CONDITIONS.items():
            if case.headers.get(name) == "0":
                case.headers[name] = valid
    if isinstance(case.body, dict):
        is_negative = case.meta is not None and case.meta.generation.mode == schemathesis.GenerationMode.NEGATIVE
        if is_negative and _INTERNATIONAL.search(str(case.body.get("email"))):
            case.body["email"] = "ann@localhost"
        if str(case.body.get("url")).startswith("http://"):
            case.body["url"] = case.body["url"].replace("http", "https", 1)
        for part in (case.body, case.body.get("target")):
            if isinstance(part, dict):
                _sort_pairs(part)


def _sort_pairs(part: dict[str, Any]) -> None:
    for first, last in _PAIRS:
        values = (part.get(first), part.get(last))
        if {type(value) for value in values} in ({int}, {str}):
            part[first], part[last] = sorted(values)


@schemathesis.serializer("text/csv", "application/x-ndjson")
def serialize_lines(context: SerializationContext, value: Any) -> Any:  # noqa: ARG001 schemathesis passes arguments by name
    """Send a file as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


# Operations that revoke the token of the request.
_REVOKING = ("business_auth.sign_out", "user_auth.sign_out", "user_profile.delete_profile")


class _Account:
    """Signs up an account for the run, and adds its token to requests."""

    path = ""
    body: dict[str, Any]

    @classmethod
    def sign_up(cls, base_url: str) -> str:
        """Return the token of a new account."""
        body = {**cls.body, "email": f"{uuid4().hex}@example.com", "password": _PASSWORD}
        response = requests.post(f"{base_url}{cls.path}", json=body, timeout=30)
        response.raise_for_status()
        token: str = response.json()["token"]
        return token

    def get(self, case: Case, context: AuthContext) -> str:  # noqa: ARG002 schemathesis passes arguments by name
        """Return a token."""
        return self.sign_up(case.operation.base_url)

    def set(self, case: Case, data: str, context: AuthContext) -> None:  # noqa: ARG002 schemathesis passes arguments by name
        """Add the token to a request. A request that revokes its token gets that of a new account."""
        revokes = case.operation.definition.raw["operationId"] in _REVOKING
        case.headers["Authorization"] = f"Bearer {self.sign_up(case.operation.base_url) if revokes else data}"


@schemathesis.auth(refresh_interval=_RUN_S, retry_on=[]).apply_to(path_regex="^/business/")
class Company(_Account):
    """A company."""

    path = "/business/auth/sign-up"
    body = {"name": "Fuzzing Company"}  # noqa: RUF012 never changed


@schemathesis.auth(refresh_interval=_RUN_S, retry_on=[]).apply_to(path_regex="^/user/")
class User(_Account):
    """A user."""

    path = "/user/auth/sign-up"
    body = {"name": "Fuzzing", "surname": "User", "other": {"age": 30, "country": "ru"}}  # noqa: RUF012 never changed


# By operation that only the owner may call: the kind of the owner.
_OWNERS = {
    "business_promos.get_promo": Company,
    "business_promos.update_promo": Company,
    "business_promos.get_promo_stat": Company,
    "business_series.get_promo_series": Company,
    "business_promos.list_changes": Company,
    "business_comments.list_comments": Company,
    "business_comments.get_comment": Company,
    "business_comments.list_reports": Company,
    "business_comments.delete_comment": Company,
    "business_codes.list_codes": Company,
    "business_codes.append_codes": Company,
    "business_codes.generate_codes": Company,
    "business_keys.delete_key": Company,
    "business_jobs.get_job": Company,
    "business_jobs.list_job_errors": Company,
    "business_redemptions.get_redemption": Company,
    "business_redemptions.confirm_redemption": Company,
    "business_redemptions.release_redemption": Company,
    "business_redemptions.void_redemption": Company,
    "business_webhooks.get_webhook": Company,
    "business_webhooks.update_webhook": Company,
    "business_webhooks.delete_webhook": Company,
    "business_webhooks.rotate_secret": Company,
    "business_webhooks.send_test": Company,
    "business_webhooks.list_deliveries": Company,
    "business_webhooks.redeliver": Company,
    "user_comments.update_comment": User,
}
_other_account = cache(lambda kind, base_url: kind.sign_up(base_url))


@schemathesis.check
def ownership(ctx: CheckContext, response: Response, case: Case) -> None:  # noqa: ARG001 schemathesis passes arguments by name
    """Repeat a successful request with another account of the same kind, which must be refused.

    The built-in check object_level_authorization needs accounts that exist before the run.
    """
    kind = _OWNERS.get(case.operation.definition.raw["operationId"])
    if kind is None or not 200 <= response.status_code < 300:
        return
    request = response.request
    headers = {**request.headers, "Authorization": f"Bearer {_other_account(kind, case.operation.base_url)}"}
    repeated = requests.request(str(request.method), str(request.url), data=request.body, headers=headers, timeout=30)
    assert repeated.status_code in (403, 404), f"Another account got {repeated.status_code}."


@schemathesis.check
def next_page(ctx: CheckContext, response: Response, case: Case) -> None:  # noqa: ARG001 schemathesis passes arguments by name
    """Follow the link of a page, which must be a page of the same list."""
    link = response.headers.get("link")
    if link is None:
        return
    request = response.request
    [path] = re.findall(r'^<(/[^>]*)>; rel="next"$', link[0])
    headers = {"Authorization": request.headers["Authorization"]}
    following = requests.get(urljoin(str(request.url), path), headers=headers, timeout=30)
    assert following.status_code == 200, f"The next page is {following.status_code}."
