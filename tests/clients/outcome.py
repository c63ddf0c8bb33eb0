"""Checks of the effects of a story, independent of the generated clients."""

import json
from typing import Any

from tests.e2e.server import Server

CODES = {"BEAN-1", "BEAN-2"}
# Added when these were used up.
ADDED_CODES = 6
PASSWORD = "Str0ng&Hot"


def assert_story_happened(server: Server, output: str) -> None:
    """Assert that the server has the data that the story of a client creates.

    Args:
        server: validates responses against api.yml, and checks that the secrets of the story are not in the log.
        output: of the story; JSON.
    """
    story: dict[str, Any] = json.loads(output)
    company, user = story["company_token"], story["user_token"]
    server.remote.secrets |= CODES | {PASSWORD, company, user, story["company_email"], story["user_email"]}

    def read(path: str, token: str) -> Any:
        response = server.accounts.call("GET", path, token=token)
        assert response.status_code == 200, response.text
        return response.json()

    promos = {promo["mode"]: promo for promo in read("/business/promo?limit=100", company)}
    assert {promos["UNIQUE"]["promo_id"], promos["COMMON"]["promo_id"]} == {story["unique"], story["common"]}
    assert set(promos["UNIQUE"]["promo_unique"]) == CODES
    assert (promos["COMMON"]["max_count"], promos["COMMON"]["active_until"]) == (7, "2999-12-31")
    assert promos["UNIQUE"]["codes_count"] == len(CODES) + ADDED_CODES
    stat = read(f"/business/promo/{story['unique']}/stat", company)
    assert stat == {"activations_count": 2, "countries": [{"country": "fr", "activations_count": 2}]}
    history = read("/user/promo/history", user)
    assert [entry["promo_id"] for entry in history] == [story["unique"]] * 2
    assert (history[0]["like_count"], history[0]["comment_count"], history[0]["active"]) == (1, 0, True)
    assert {entry["code"] for entry in read("/user/activations", user)} == CODES
    profile = read("/user/profile", user)
    assert (profile["name"], profile["surname"]) == ("Marie", "Noir")
    assert profile["avatar_url"] == "https://mail.example/marie.jpg"
