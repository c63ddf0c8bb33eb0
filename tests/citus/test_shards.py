"""How many shards an operation asks: only those of its rows, and all of them only where no key is known."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from promo_api.app import create_app
from promo_api.config.settings import Settings
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.citus.sent_tasks import Tasks, sent_tasks
from tests.citus_databases import ON_CITUS
from tests.e2e.all_operations import AllOperations
from tests.e2e.server import Server
from tests.mailbox import Mailbox
from tests.operations import OPERATIONS

pytestmark = pytest.mark.skipif(not ON_CITUS, reason="make test-citus runs it, on a cluster")
_OF_A_COMPANY = "its promos are in all shards"
_OF_A_USER = "the activations, likes and comments of a user are with their promos"
_OF_A_PAGE = "the shards of the entries of the page"
# Operations with a statement that asks several shards of a group of tables, and the reason.
_OF_SEVERAL_SHARDS = {
    "business_promos.list_promos": _OF_A_COMPANY,
    "business_series.get_company_series": _OF_A_COMPANY,
    "business_redemptions.list_redemptions": _OF_A_COMPANY,
    "business_comments.list_comments": _OF_A_PAGE,
    "user_comments.list_comments": _OF_A_PAGE,
    "user_promos.list_feed": _OF_A_PAGE,
    "user_activations.list_history": _OF_A_USER,
    "user_activations.list_activations": _OF_A_USER,
    "user_export.get_export": _OF_A_USER,
    "user_profile.delete_profile": _OF_A_USER,
}


@pytest.fixture(scope="module")
def runtime(settings: Settings, runtime: Runtime) -> Iterator[Runtime]:
    """A runtime without connections. It uses the tables that the fixture of the same name has created."""
    assert runtime.database
    own = Runtime.open(settings)
    yield own
    own.close()


@pytest.fixture(scope="module")
def take(runtime: Runtime) -> Iterator[Callable[[], list[Tasks]]]:
    """Returns the statements that were sent to shards since it was called last."""
    with sent_tasks(runtime.database) as take:
        yield take


@pytest.fixture(scope="module")
def api(runtime: Runtime, take: Callable[[], list[Tasks]]) -> Iterator[Api]:
    """The API in this process, with that runtime."""
    assert take
    with TestClient(create_app(runtime), raise_server_exceptions=False) as client:
        yield Api(client)


@pytest.fixture
def company(api: Api) -> Account:
    """A company without promos."""
    return api.sign_up_company()


@pytest.fixture
def user(api: Api) -> Account:
    """A user without data."""
    return api.sign_up_user()


@pytest.fixture
def tasks(take: Callable[[], list[Tasks]]) -> Callable[[Callable[[], Any]], list[Tasks]]:
    """Returns the statements that a successful request sends to shards."""

    def run(request: Callable[[], Any]) -> list[Tasks]:
        take()
        response = request()
        assert response.is_success, response.text
        return take()

    return run


def test_operations(api: Api, take: Callable[[], list[Tasks]], mailbox: Mailbox) -> None:
    """No statement of an operation asks several shards of a group of tables, except for the listed reasons."""
    server = SimpleNamespace(accounts=api, remote=SimpleNamespace(hooks={"response": []}))
    operations = AllOperations(cast("Server", server), mailbox)
    several: dict[str, list[Tasks]] = {}
    for operation in OPERATIONS:
        take()
        assert operations.send_valid([operation])[operation.id] < 300, operation.id
        if found := [task for task in take() if max(map(len, task.shards.values()), default=0) > 1]:
            several[operation.id] = found
    assert {name: found for name, found in several.items() if name not in _OF_SEVERAL_SHARDS} == {}


@pytest.mark.parametrize("codes", [{}, {"promo_unique": ["one", "two", "three"]}])
def test_one_promo(
    company: Account,
    user: Account,
    tasks: Callable[[Callable[[], Any]], list[Tasks]],
    cached_verdict: Callable[[Account], None],
    codes: dict[str, Any],
) -> None:
    """Each statement about one promo is one command to one shard, and takes part in no two-phase commit."""
    promo_id = company.create_promo(**codes)
    cached_verdict(user)
    path, own = f"/user/promo/{promo_id}", f"/business/promo/{promo_id}"
    code = user.post(f"{path}/activate").json()["promo"]
    redeem = {"code": code, "promo_id": promo_id, "order_ref": "A-1", "hold_s": 60}
    held = company.post("/business/redemptions", json=redeem).json()["id"]
    requests: list[Callable[[], Any]] = [
        lambda: user.get(path),
        lambda: user.get(f"{path}/eligibility"),
        lambda: user.post(f"{path}/activate"),
        lambda: user.post(f"{path}/like"),
        lambda: user.delete(f"{path}/like"),
        lambda: user.post(f"{path}/comments", json={"text": "A very good promo"}),
        lambda: user.get(f"{path}/comments"),
        lambda: company.get(f"{own}/stat"),
        lambda: company.get(f"{own}/stat/series"),
        lambda: company.post("/business/redemptions/validate", json={"code": code}),
        lambda: company.post("/business/redemptions", json={"code": code, "order_ref": "A-1", "hold_s": 90}),
        lambda: company.get(f"/business/redemptions/{held}"),
        lambda: company.post(f"/business/redemptions/{held}/confirm"),
        lambda: company.post(f"/business/redemptions/{held}/void"),
        lambda: company.post("/business/redemptions", json={"code": code, "promo_id": promo_id}),
    ]
    found = [task for request in requests for task in tasks(request)]
    assert [(task.statement, task.commands) for task in found if len(task.commands) != 1] == []


def test_pages(company: Account, user: Account, tasks: Callable[[Callable[[], Any]], list[Tasks]]) -> None:
    """The feed is one shard. The cards of a page are read in one statement, from the shards of their promos."""
    category = company.id.replace("-", "")[:20]
    company.create_promo(target={"categories": [category]})
    for query in ("", "&active=true", "&active=false", "&limit=1"):
        feed = tasks(lambda query=query: user.get(f"/user/feed?category={category}{query}"))  # type: ignore[misc]
        assert [task for task in feed if len(task.commands) != 1] == []
    listed = tasks(lambda: company.get("/business/promo"))
    [cards] = (task for task in listed if "promo_counters" in task.statement)
    assert len(cards.commands) == 1, cards
