"""The story of a promo, as clients see it, on a server of two processes."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.e2e.server import Server


def test_whole_story(server: Server) -> None:
    """A company makes a promo, a user finds, likes, discusses and activates it, and the company sees that."""
    company, user = server.people.sign_up_company(), server.people.sign_up_user(age=30, country="Ru")
    codes = ["story-code-one", "story-code-two"]
    promo_id = company.create_promo(target={"country": "rU", "categories": ["кофе"]}, promo_unique=codes)
    path = f"/user/promo/{promo_id}"
    assert [card["promo_id"] for card in user.get("/user/feed?category=КОФЕ").json()] == [promo_id]
    assert user.post(f"{path}/like").status_code == 200
    comment = user.post(f"{path}/comments", json={"text": "Отличный кофе здесь"}).json()
    assert user.get(f"{path}/comments").json() == [comment]
    assert {user.post(f"{path}/activate").json()["promo"] for _ in codes} == {*codes}
    assert user.post(f"{path}/activate").status_code == 403
    card = user.get(path).json()
    assert (card["like_count"], card["comment_count"], card["active"]) == (1, 1, False)
    assert user.get("/user/promo/history").headers["X-Total-Count"] == "2"
    stat = company.get(f"/business/promo/{promo_id}/stat").json()
    assert stat == {"activations_count": 2, "countries": [{"country": "ru", "activations_count": 2}]}


def test_values_of_two_processes(server: Server) -> None:
    """Of many at once, on both processes, each gets a value of its own, as long as there are any."""
    user = server.people.sign_up_user()
    codes = [f"shared-code-{number}" for number in range(20)]
    promo_id = server.people.sign_up_company().create_promo(promo_unique=codes)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: user.post(f"/user/promo/{promo_id}/activate"), range(40)))
    assert Counter(answer.status_code for answer in answers) == {200: 20, 403: 20}
    assert sorted(answer.json()["promo"] for answer in answers if answer.status_code == 200) == sorted(codes)


def test_sign_in_ends_tokens_on_all_processes(server: Server) -> None:
    """After a sign-in the earlier token counts on none of the processes, and the new one on all."""
    user = server.people.sign_up_user()
    body = {name: user.body[name] for name in ("email", "password")}
    assert {user.get("/user/profile").status_code for _ in range(10)} == {200}
    token = server.people.call("POST", "/user/auth/sign-in", json=body).json()["token"]
    assert {user.get("/user/profile").status_code for _ in range(20)} == {401}
    assert {server.people.call("GET", "/user/profile", token=token).status_code for _ in range(20)} == {200}


@pytest.mark.parametrize("path", ["/api/ui", "/api/ui/"])
def test_documentation_page(server: Server, path: str) -> None:
    """There is a page for people, and what it loads is there too."""
    page = requests.get(f"{server.url}{path}", timeout=10)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "swagger-ui" in page.text
    script = requests.get(f"{server.url}/api/ui/swagger-ui-bundle.js", timeout=10)
    assert (script.status_code, "javascript" in script.headers["content-type"]) == (200, True)


def test_contract_is_served(server: Server) -> None:
    """The contract itself is there for programs, with the address under which its paths stand."""
    contract = requests.get(f"{server.url}/api/openapi.json", timeout=10)
    assert contract.status_code == 200
    assert contract.json()["servers"][0]["url"] == "/api"
    assert "/user/promo/{id}/activate" in contract.json()["paths"]
