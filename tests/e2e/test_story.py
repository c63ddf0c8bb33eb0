"""The story of a promo, on a server with two workers."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.e2e.server import Server


def test_whole_story(server: Server) -> None:
    """A company creates a promo; a user finds, likes, comments and activates it; the company reads statistics."""
    company, user = server.accounts.sign_up_company(), server.accounts.sign_up_user(age=30, country="Ru")
    codes = ["story-code-one", "story-code-two"]
    promo_id = company.create_promo(target={"country": "rU", "categories": ["кофе"]}, promo_unique=codes)
    path = f"/user/promo/{promo_id}"
    assert [promo["promo_id"] for promo in user.get("/user/feed?category=КОФЕ").json()] == [promo_id]
    assert user.post(f"{path}/like").status_code == 200
    comment = user.post(f"{path}/comments", json={"text": "Отличный кофе здесь"}).json()
    assert user.get(f"{path}/comments").json() == [comment]
    assert {user.post(f"{path}/activate").json()["promo"] for _ in codes} == {*codes}
    assert user.post(f"{path}/activate").status_code == 403
    promo = user.get(path).json()
    assert (promo["like_count"], promo["comment_count"], promo["active"]) == (1, 1, False)
    assert user.get("/user/promo/history").headers["X-Total-Count"] == "2"
    stat = company.get(f"/business/promo/{promo_id}/stat").json()
    assert stat == {"activations_count": 2, "countries": [{"country": "ru", "activations_count": 2}]}


def test_concurrent_activations_on_two_workers(server: Server) -> None:
    """Concurrent activations on two workers get different codes until all are used up."""
    user = server.accounts.sign_up_user()
    codes = [f"shared-code-{number}" for number in range(20)]
    promo_id = server.accounts.sign_up_company().create_promo(promo_unique=codes)
    with ThreadPoolExecutor(16) as threads:
        responses = list(threads.map(lambda _: user.post(f"/user/promo/{promo_id}/activate"), range(40)))
    assert Counter(response.status_code for response in responses) == {200: 20, 403: 20}
    assert sorted(response.json()["promo"] for response in responses if response.status_code == 200) == sorted(codes)


def test_sign_in_revokes_tokens_on_all_workers(server: Server) -> None:
    """After a sign-in all workers refuse the earlier token and accept the new one."""
    user = server.accounts.sign_up_user()
    body = {name: user.body[name] for name in ("email", "password")}
    assert {user.get("/user/profile").status_code for _ in range(10)} == {200}
    token = server.accounts.call("POST", "/user/auth/sign-in", json=body).json()["token"]
    assert {user.get("/user/profile").status_code for _ in range(20)} == {401}
    assert {server.accounts.call("GET", "/user/profile", token=token).status_code for _ in range(20)} == {200}


@pytest.mark.parametrize("path", ["/", "/docs", "/api", "/api/ui"])
def test_documentation_page(server: Server, path: str) -> None:
    """The documentation page and its script are served, the script compressed, and not again if it is unchanged."""
    page = requests.get(f"{server.url}{path}", timeout=10)
    assert (page.status_code, page.url) == (200, f"{server.url}/api/docs")
    assert page.headers["content-type"].startswith("text/html")
    url = f"{server.url}/api/docs/scalar.js"
    script = requests.get(url, timeout=30)
    assert (script.status_code, script.headers["content-encoding"]) == (200, "gzip")
    assert "javascript" in script.headers["content-type"]
    assert requests.get(url, headers={"If-None-Match": script.headers["etag"]}, timeout=30).status_code == 304
    for address in (page.url, url):
        head = requests.head(address, timeout=30)
        assert (head.status_code, head.content, head.headers["etag"] != "") == (200, b"", True)


def test_contract_is_served(server: Server) -> None:
    """The contract is served with the URL of its base path."""
    contract = requests.get(f"{server.url}/api/openapi.json", timeout=10)
    assert contract.status_code == 200
    assert contract.json()["servers"][0]["url"] == "/api"
    assert "/user/promo/{id}/activate" in contract.json()["paths"]
