"""The cache of the code lists of UNIQUE promos: hits and misses, eviction, memory and concurrency."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from uuid import UUID, uuid4

import orjson
import pytest

from persistence.promos.code_lists import CodeLists
from persistence.promos.promos import insert_promo
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.statements import sent_statements

MIB = 1024**2
# Characters that JSON escapes, and characters of one to four bytes.
SPECIAL = [
    '"quoted"',
    "back\\slash",
    "/slash/",
    "<tag>&amp;",
    "zero\u200djoiner",
    "кофе",
    "\U0001f680" * 3,
    "same",
    "same",
]


@pytest.fixture
def company(api: Api) -> Account:
    """A company without promos."""
    return api.sign_up_company()


@pytest.fixture
def ask(runtime: Runtime) -> Callable[..., tuple[Mapping[UUID, bytes], list[UUID]]]:
    """Returns the lists of promos, and the ids of the promos that were read from PostgreSQL."""

    def find(lists: CodeLists, *promo_ids: UUID, **bound: int) -> tuple[Mapping[UUID, bytes], list[UUID]]:
        with runtime.database.autocommit() as connection, sent_statements() as sent:
            result = lists.find_lists(connection, promo_ids, **bound)
        lists_of_ids = [next(value for value in parameters if isinstance(value, list)) for _, parameters in sent]
        return result, [promo_id for ids in lists_of_ids for promo_id in ids]

    return find


def _create(company: Account, values: Sequence[str]) -> UUID:
    return UUID(company.create_promo(promo_unique=values))


def _entries(number: int, size_bytes: int) -> dict[UUID, bytes]:
    return {uuid4(): bytes(size_bytes) for _ in range(number)}


def test_read_once(company: Account, ask: Callable[..., object]) -> None:
    """One statement reads all missing lists, in their order. Cached lists are not read again."""
    one, two, three = (_create(company, values) for values in (SPECIAL, ["bbb", "aaa"], ["ccc"]))
    lists = CodeLists(MIB)
    assert ask(lists, one) == ({one: orjson.dumps(SPECIAL)}, [one])
    assert ask(lists, one) == ({one: orjson.dumps(SPECIAL)}, [])
    expected = {one: orjson.dumps(SPECIAL), two: b'["bbb","aaa"]', three: b'["ccc"]'}
    assert ask(lists, three, one, two) == (expected, [three, two])
    assert ask(lists, three, one, two) == (expected, [])
    assert ask(lists) == ({}, [])


def test_first_codes(company: Account, ask: Callable[..., object]) -> None:
    """The first codes of a list are read without the rest, and cached separately. An unknown promo has no list."""
    long, short, missing = _create(company, SPECIAL), _create(company, ["bbb", "aaa"]), uuid4()
    lists, expected = CodeLists(MIB), {long: orjson.dumps(SPECIAL[:3]), short: b'["bbb","aaa"]'}
    assert ask(lists, long, missing, short, first=3) == (expected, [long, missing, short])
    assert ask(lists, long, short, first=3) == (expected, [])
    assert ask(lists, long, first=2) == ({long: orjson.dumps(SPECIAL[:2])}, [long])
    assert ask(lists, long) == ({long: orjson.dumps(SPECIAL)}, [long])
    assert ask(lists, long, first=3) == ({long: expected[long]}, [])


def test_each_process_has_its_own_cache(company: Account, ask: Callable[..., object]) -> None:
    """Two caches read the same list independently."""
    promo_id = _create(company, SPECIAL)
    assert (
        ask(CodeLists(MIB), promo_id)
        == ask(CodeLists(MIB), promo_id)
        == ({promo_id: orjson.dumps(SPECIAL)}, [promo_id])
    )


def test_least_recently_used_list_is_evicted(company: Account, ask: Callable[..., object]) -> None:
    """A full cache evicts the least recently used list."""
    one, two, three = (_create(company, [f"{number}" * 30] * 20) for number in range(3))
    lists = CodeLists(3 * 1024)
    for promo_id in (one, two, one, three):
        ask(lists, promo_id)
    assert [ask(lists, promo_id)[1] for promo_id in (one, three, two)] == [[], [], [two]]  # type: ignore[index]


def test_too_large_to_store(company: Account, ask: Callable[..., object]) -> None:
    """A list that is larger than the cache is read each time and evicts nothing."""
    large, small = _create(company, ["large"] * 5000), _create(company, ["small"])
    lists = CodeLists(1024)
    ask(lists, small)
    for _ in range(2):
        assert ask(lists, large, small) == ({large: orjson.dumps(["large"] * 5000), small: b'["small"]'}, [large])
    assert [ask(CodeLists(0), small) for _ in range(2)] == [({small: b'["small"]'}, [small])] * 2


@pytest.mark.parametrize(("number", "size_bytes"), [(60, 100_000), (1, 5 * MIB), (40_000, 8)])
def test_memory(number: int, size_bytes: int) -> None:
    """Lists of any size stay within the memory limit of the cache."""
    lists = CodeLists(4 * MIB)
    tracemalloc.start()
    try:
        for promo_id, values in _entries(number, size_bytes).items():
            lists._store({(promo_id, None): values})
        del promo_id, values
        assert tracemalloc.get_traced_memory()[0] <= 4 * MIB
    finally:
        tracemalloc.stop()


def test_uncommitted_promo(api: Api, runtime: Runtime) -> None:
    """The list of an uncommitted promo is neither returned nor cached."""
    company_id, promo_id, lists = UUID(_company_id(api)), uuid4(), CodeLists(MIB)
    target = dict.fromkeys(("country", "age_from", "age_until", "categories"))
    definition = {"company_id": company_id, "mode": "UNIQUE", "description": "A free espresso", **target}

    def find() -> Mapping[UUID, bytes]:
        with runtime.database.autocommit() as reader:
            return lists.find_lists(reader, [promo_id])

    with runtime.database.transaction() as connection:
        insert_promo(connection, promo_id, definition, runtime.today(), use_limit=1, codes=["rolled back"])
        assert find() == {}
        connection.rollback()
    assert find() == {}
    with runtime.database.transaction() as connection:
        insert_promo(connection, promo_id, definition, runtime.today(), use_limit=1, codes=["committed"])
    assert find() == {promo_id: b'["committed"]'}


def _company_id(api: Api) -> str:
    company = api.sign_up_company()
    company_id: str = company.get(f"/business/promo/{company.create_promo()}").json()["company_id"]
    return company_id


def test_concurrent_misses(company: Account, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that miss the same list both read it. It is cached once."""
    promo_id, lists, both = _create(company, SPECIAL), CodeLists(MIB), Barrier(2, timeout=30)
    store = lists._store

    def store_together(read: Mapping[UUID, bytes]) -> None:
        both.wait()
        store(read)

    def get(_number: int) -> Mapping[UUID, bytes]:
        with runtime.database.autocommit() as connection:
            return lists.find_lists(connection, [promo_id])

    monkeypatch.setattr(lists, "_store", store_together)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(get, range(2))) == [{promo_id: orjson.dumps(SPECIAL)}] * 2
    assert lists._cache.currsize == len(orjson.dumps(SPECIAL)) + 512


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Make the interpreter switch threads at the shortest interval."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("often_switching")
def test_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that evict each other's lists still get the right ones."""
    stored = {UUID(int=number): b"%d" % number * 100 for number in range(12)}
    lists = CodeLists(6 * 700)

    class FakeStatement:
        """Replaces the statement that reads lists."""

        def rows(self, _connection: object, values: Mapping[str, Sequence[UUID]]) -> list[tuple[UUID, str]]:
            return [(promo_id, stored[promo_id].decode()) for promo_id in values["ids"]]

    monkeypatch.setattr("persistence.promos.code_lists._LISTS", FakeStatement())

    def get_often(seed: int) -> bool:
        choice = Random(seed)  # noqa: S311 test data
        requests = [choice.sample(sorted(stored), 4) for _ in range(2000)]
        return all(lists.find_lists(None, ids) == {promo_id: stored[promo_id] for promo_id in ids} for ids in requests)  # type: ignore[arg-type]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(get_often, range(8))) == [True] * 8
    assert 0 < lists._cache.currsize <= lists._cache.maxsize


def test_responses_with_lists(company: Account) -> None:
    """A response with a list is plain JSON, whether the list was cached or not."""
    promo_id = _create(company, SPECIAL)
    paths = [f"/business/promo/{promo_id}", "/business/promo"] * 2
    for response in (company.get(path) for path in paths):
        assert response.content == orjson.dumps(response.json())
    alone, listed = company.get(paths[0]).json(), company.get(paths[1]).json()
    assert [alone] == listed
    assert alone["promo_unique"] == SPECIAL


def test_new_and_changed_promos(company: Account) -> None:
    """The list of a new or changed promo is in the next response."""
    created: list[list[str]] = []
    for number in range(5):
        created.insert(0, [f"code-{number}-{position}" for position in range(3)])
        promo_id = _create(company, created[0])
        listed = company.get("/business/promo").json()
        assert [promo["promo_unique"] for promo in listed] == created
        changed = company.patch(f"/business/promo/{promo_id}", json={"description": "Another description"})
        assert changed.json() == {**listed[0], "description": "Another description"}
