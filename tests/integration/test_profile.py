"""The profile of the signed-in user."""

from typing import Any

import pytest

from tests.accounts import PASSWORD, Account, Api
from tests.cases import all_cases

PROFILE = "/user/profile"
NEW_PASSWORD = "N3w&Better"


def _sign_in(api: Api, user: Account, password: str) -> int:
    credentials = {"email": user.body["email"], "password": password}
    status: int = api.call("POST", "/user/auth/sign-in", json=credentials).status_code
    return status


def test_profile_without_an_avatar(api: Api) -> None:
    """A profile has exactly the members of the sign-up; without an avatar there is no `avatar_url`."""
    user = api.sign_up_user(age=0, country="rU")
    assert user.get(PROFILE).json() == {
        "name": "Ann",
        "surname": "Lee",
        "email": user.body["email"],
        "other": {"age": 0, "country": "rU"},
    }


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("name", "B"),
        ("name", "ж" * 100),
        ("surname", "K"),
        ("surname", "ж" * 120),
        ("avatar_url", "https://example.com/" + "p" * 330),
        ("avatar_url", "http://a"),
    ],
)
def test_a_member_is_changed_alone(api: Api, member: str, value: str) -> None:
    """A patch of one member replaces it and changes nothing else."""
    user = api.sign_up_user(avatar_url="https://example.com/old")
    expected = user.get(PROFILE).json() | {member: value}
    assert user.patch(PROFILE, json={member: value}).json() == expected
    assert user.get(PROFILE).json() == expected


def test_all_members_are_changed_at_once(api: Api) -> None:
    """One patch can change all members that can change."""
    user = api.sign_up_user()
    changes = {"name": "Bob", "surname": "Kay", "avatar_url": "https://example.com/b"}
    response = user.patch(PROFILE, json=changes | {"password": NEW_PASSWORD})
    assert response.json() == {"email": user.body["email"], "other": {"age": 30, "country": "ru"}} | changes
    assert _sign_in(api, user, NEW_PASSWORD) == 200


@pytest.mark.parametrize("patch", [{}, dict.fromkeys(("name", "surname", "avatar_url", "password"))])
def test_empty_patch_and_null_change_nothing(api: Api, patch: dict[str, None]) -> None:
    """An empty patch and a patch of nulls succeed and change nothing, also not the password."""
    user = api.sign_up_user(avatar_url="https://example.com/a")
    before = user.get(PROFILE).json()
    assert user.patch(PROFILE, json=patch).json() == before
    assert user.get(PROFILE).json() == before
    assert _sign_in(api, user, PASSWORD) == 200


def test_null_and_a_value(api: Api) -> None:
    """A null keeps its member; the other members of the patch change."""
    user = api.sign_up_user(avatar_url="https://example.com/a")
    profile = user.patch(PROFILE, json={"name": "Bob", "surname": None, "avatar_url": None, "password": None}).json()
    assert (profile["name"], profile["surname"], profile["avatar_url"]) == ("Bob", "Lee", "https://example.com/a")


@all_cases(
    ("member", "value"),
    [
        ("name", ""),
        ("name", "n" * 101),
        ("name", "a\x00"),
        ("name", 5),
        ("name", "\u200b"),
        ("surname", "a\u202eb"),
        ("surname", ""),
        ("surname", "n" * 121),
        ("surname", []),
        ("avatar_url", ""),
        ("avatar_url", "https://"),
        ("avatar_url", "grpc://x"),
        ("avatar_url", "a@b"),
        ("avatar_url", "https://example.com/" + "p" * 331),
        ("password", ""),
        ("password", "Passw0!"),
        ("password", "P" + "a" * 58 + "1$"),
        ("password", "passw0rd!"),
        ("password", "PASSW0RD!"),
        ("password", "Password!"),
        ("password", "Passw0rdd"),
        ("password", "Passw0rd!\n"),
    ],
)
def test_one_invalid_member_changes_nothing(api: Api, member: str, value: object) -> None:
    """One invalid member refuses the whole patch."""
    user = api.sign_up_user()
    valid: dict[str, Any] = {"name": "Bob", "surname": "Kay", "password": NEW_PASSWORD}
    response = user.patch(PROFILE, json=valid | {member: value})
    assert response.status_code == 400
    assert {detail["pointer"] for detail in response.json()["details"]} == {f"/{member}"}
    assert user.get(PROFILE).json()["name"] == "Ann"
    assert _sign_in(api, user, NEW_PASSWORD) == 401


@pytest.mark.parametrize(
    ("member", "value"),
    [("age", 31), ("country", "fr"), ("email", "x@example.com"), ("other", {"age": 31}), ("id", "1")],
)
def test_read_only_members(api: Api, member: str, value: object) -> None:
    """A patch with age, country, e-mail address or id is refused, also if the value is null."""
    user = api.sign_up_user()
    for sent in (value, None):
        response = user.patch(PROFILE, json={"name": "Bob", member: sent})
        assert response.status_code == 400
        assert [detail["pointer"] for detail in response.json()["details"]] == [f"/{member}"]
    profile = user.get(PROFILE).json()
    assert (profile["name"], profile["other"]) == ("Ann", {"age": 30, "country": "ru"})


@pytest.mark.parametrize("patch", [None, [], "name", 5])
def test_patch_is_an_object(api: Api, patch: object) -> None:
    """A patch that is not a JSON object is refused, null included."""
    assert api.sign_up_user().patch(PROFILE, json=patch).status_code == 400


def test_changed_password(api: Api) -> None:
    """Only the new password signs in. Tokens stay valid until the next sign-in."""
    user = api.sign_up_user()
    assert user.patch(PROFILE, json={"password": NEW_PASSWORD}).status_code == 200
    assert _sign_in(api, user, PASSWORD) == 401
    assert user.get(PROFILE).status_code == 200
    assert _sign_in(api, user, NEW_PASSWORD) == 200
    assert user.get(PROFILE).status_code == 401


def test_password_is_not_shown(api: Api) -> None:
    """No response contains the password or its hash."""
    user = api.sign_up_user()
    responses = [user.patch(PROFILE, json={"password": NEW_PASSWORD}), user.get(PROFILE)]
    assert not any(NEW_PASSWORD in response.text or "argon2" in response.text for response in responses)


def test_other_profiles_stay(api: Api) -> None:
    """A patch changes only the profile of the signed-in user."""
    one, other = api.sign_up_user(), api.sign_up_user()
    one.patch(PROFILE, json={"name": "Bob", "password": NEW_PASSWORD})
    assert other.get(PROFILE).json()["name"] == "Ann"
    assert _sign_in(api, other, PASSWORD) == 200
