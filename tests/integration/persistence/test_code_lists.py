"""The lists of UNIQUE promos that a process keeps: which of them, for how long, and that they are right."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from uuid import UUID, uuid4

import orjson
import pytest

from persistence.code_lists import CodeLists
from persistence.promos import insert_promo
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.statements import sent_statements

MIB = 1024**2
# What JSON writes in a way of its own, and characters of one to four bytes.
ODD = ['"quoted"', "back\\slash", "/slash/", "tab\tnew\nline", "\x01\x1f\x7f", "кофе", "\U0001f680" * 3, "same", "same"]


@pytest.fixture
def company(api: Api) -> Account:
    """A company without promos."""
    return api.sign_up_company()


@pytest.fixture
def ask(runtime: Runtime) -> Callable[..., tuple[Mapping[UUID, bytes], list[UUID]]]:
    """Returns the lists of promos, and the ids of those for which PostgreSQL was asked."""

    def asked(lists: CodeLists, *promo_ids: UUID, **bound: int) -> tuple[Mapping[UUID, bytes], list[UUID]]:
        with runtime.database.autocommit() as connection, sent_statements() as sent:
            found = lists.find_lists(connection, promo_ids, **bound)
        lists_of_ids = [next(value for value in parameters if isinstance(value, list)) for _, parameters in sent]
        return found, [promo_id for ids in lists_of_ids for promo_id in ids]

    return asked


def _create(company: Account, values: Sequence[str]) -> UUID:
    return UUID(company.create_promo(promo_unique=values))


def _entries(number: int, size_bytes: int) -> dict[UUID, bytes]:
    return {uuid4(): bytes(size_bytes) for _ in range(number)}


def test_read_once(company: Account, ask: Callable[..., object]) -> None:
    """A list is asked for once, by one statement for all that are missing, and comes in the order it was given."""
    one, two, three = (_create(company, values) for values in (ODD, ["bbb", "aaa"], ["ccc"]))
    lists = CodeLists(MIB)
    assert ask(lists, one) == ({one: orjson.dumps(ODD)}, [one])
    assert ask(lists, one) == ({one: orjson.dumps(ODD)}, [])
    wanted = {one: orjson.dumps(ODD), two: b'["bbb","aaa"]', three: b'["ccc"]'}
    assert ask(lists, three, one, two) == (wanted, [three, two])
    assert ask(lists, three, one, two) == (wanted, [])
    assert ask(lists) == ({}, [])


def test_first_codes(company: Account, ask: Callable[..., object]) -> None:
    """The first codes of a list are read without the rest, cached beside the whole list, and empty for no promo."""
    long, short, missing = _create(company, ODD), _create(company, ["bbb", "aaa"]), uuid4()
    lists, wanted = CodeLists(MIB), {long: orjson.dumps(ODD[:3]), short: b'["bbb","aaa"]'}
    assert ask(lists, long, missing, short, first=3) == (wanted, [long, missing, short])
    assert ask(lists, long, short, first=3) == (wanted, [])
    assert ask(lists, long, first=2) == ({long: orjson.dumps(ODD[:2])}, [long])
    assert ask(lists, long) == ({long: orjson.dumps(ODD)}, [long])
    assert ask(lists, long, first=3) == ({long: wanted[long]}, [])


def test_each_process_has_its_own(company: Account, ask: Callable[..., object]) -> None:
    """What one process has read another one reads for itself, and finds the same."""
    promo_id = _create(company, ODD)
    assert ask(CodeLists(MIB), promo_id) == ask(CodeLists(MIB), promo_id) == ({promo_id: orjson.dumps(ODD)}, [promo_id])


def test_the_longest_unread_goes(company: Account, ask: Callable[..., object]) -> None:
    """Where there is no room for all, the list goes that nobody has asked for the longest."""
    one, two, three = (_create(company, [f"{number}" * 30] * 20) for number in range(3))
    lists = CodeLists(3 * 1024)
    for promo_id in (one, two, one, three):
        ask(lists, promo_id)
    assert [ask(lists, promo_id)[1] for promo_id in (one, three, two)] == [[], [], [two]]  # type: ignore[index]


def test_too_large_to_keep(company: Account, ask: Callable[..., object]) -> None:
    """A list for which there is no room at all is read each time, and drives out nothing that is kept."""
    large, small = _create(company, ["large"] * 5000), _create(company, ["small"])
    lists = CodeLists(1024)
    ask(lists, small)
    for _ in range(2):
        assert ask(lists, large, small) == ({large: orjson.dumps(["large"] * 5000), small: b'["small"]'}, [large])
    assert [ask(CodeLists(0), small) for _ in range(2)] == [({small: b'["small"]'}, [small])] * 2


@pytest.mark.parametrize(("number", "size_bytes"), [(60, 100_000), (1, 5 * MIB), (40_000, 8)])
def test_memory(number: int, size_bytes: int) -> None:
    """However large or small the lists are, they take no more memory than they may, all told."""
    lists = CodeLists(4 * MIB)
    tracemalloc.start()
    try:
        for promo_id, values in _entries(number, size_bytes).items():
            lists._keep({(promo_id, None): values})
        del promo_id, values
        assert tracemalloc.get_traced_memory()[0] <= 4 * MIB
    finally:
        tracemalloc.stop()


def test_undone_promo(api: Api, runtime: Runtime) -> None:
    """Of a promo that is not there yet, or was undone, nothing is seen and nothing is kept."""
    company_id, promo_id, lists = UUID(_company_id(api)), uuid4(), CodeLists(MIB)
    target = dict.fromkeys(("country", "age_from", "age_until", "categories"))
    definition = {"company_id": company_id, "mode": "UNIQUE", "description": "A free espresso", **target}

    def seen() -> Mapping[UUID, bytes]:
        with runtime.database.autocommit() as reader:
            return lists.find_lists(reader, [promo_id])

    with runtime.database.transaction() as connection:
        insert_promo(connection, promo_id, definition, runtime.today(), use_limit=1, codes=["undone"])
        assert seen() == {}
        connection.rollback()
    assert seen() == {}
    with runtime.database.transaction() as connection:
        insert_promo(connection, promo_id, definition, runtime.today(), use_limit=1, codes=["done"])
    assert seen() == {promo_id: b'["done"]'}


def _company_id(api: Api) -> str:
    company = api.sign_up_company()
    company_id: str = company.get(f"/business/promo/{company.create_promo()}").json()["company_id"]
    return company_id


def test_two_miss_the_same_list(company: Account, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that miss a list at once read it both, and one of it is kept."""
    promo_id, lists, both = _create(company, ODD), CodeLists(MIB), Barrier(2, timeout=30)
    keep = lists._keep

    def keep_together(read: Mapping[UUID, bytes]) -> None:
        both.wait()
        keep(read)

    def get(_number: int) -> Mapping[UUID, bytes]:
        with runtime.database.autocommit() as connection:
            return lists.find_lists(connection, [promo_id])

    monkeypatch.setattr(lists, "_keep", keep_together)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(get, range(2))) == [{promo_id: orjson.dumps(ODD)}] * 2
    assert lists._kept.currsize == len(orjson.dumps(ODD)) + 512


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Threads that are interrupted as often as the interpreter can."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("often_switching")
def test_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """However threads drive out each other's lists, each gets those that it asked for."""
    there = {UUID(int=number): b"%d" % number * 100 for number in range(12)}
    lists = CodeLists(6 * 700)

    class Read:
        """PostgreSQL, which is not what this is about."""

        def rows(self, _connection: object, values: Mapping[str, Sequence[UUID]]) -> list[tuple[UUID, str]]:
            return [(promo_id, there[promo_id].decode()) for promo_id in values["ids"]]

    monkeypatch.setattr("persistence.code_lists._LISTS", Read())

    def get_often(seed: int) -> bool:
        choice = Random(seed)  # noqa: S311 any choice will do
        asked = [choice.sample(sorted(there), 4) for _ in range(2000)]
        return all(lists.find_lists(None, ids) == {promo_id: there[promo_id] for promo_id in ids} for ids in asked)  # type: ignore[arg-type]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(get_often, range(8))) == [True] * 8
    assert 0 < lists._kept.currsize <= lists._kept.maxsize


def test_answers_are_as_they_were(company: Account) -> None:
    """A list stands in an answer as all else does, whether it has just been read or was kept."""
    promo_id = _create(company, ODD)
    paths = [f"/business/promo/{promo_id}", "/business/promo"] * 2
    for answer in (company.get(path) for path in paths):
        assert answer.content == orjson.dumps(answer.json())
    alone, listed = company.get(paths[0]).json(), company.get(paths[1]).json()
    assert [alone] == listed
    assert alone["promo_unique"] == ODD


def test_new_promos_are_there_at_once(company: Account) -> None:
    """The list of a promo that has just been made, or changed, is in the very next answers."""
    made: list[list[str]] = []
    for number in range(5):
        made.insert(0, [f"code-{number}-{position}" for position in range(3)])
        promo_id = _create(company, made[0])
        listed = company.get("/business/promo").json()
        assert [promo["promo_unique"] for promo in listed] == made
        changed = company.patch(f"/business/promo/{promo_id}", json={"description": "Another description"})
        assert changed.json() == {**listed[0], "description": "Another description"}
