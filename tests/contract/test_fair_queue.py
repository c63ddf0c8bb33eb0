"""The fair queue: groups and their members take turns, and a full queue drops from the longest group."""

import pytest

from promo_api.contract.fair_queue import FairQueue, Source

A, B, C = (Source(name, None, 10) for name in "abc")


def _all(queue: FairQueue[str]) -> list[str]:
    items = []
    while (item := queue.pop()) is not None:
        items.append(item)
    return items


def test_order_of_one_source() -> None:
    """The items of one member start in the order of their arrival."""
    queue: FairQueue[str] = FairQueue(10, 10)
    assert [queue.push(name, A) for name in ("1", "2", "3")] == [None] * 3
    assert _all(queue) == ["1", "2", "3"]


def test_groups_take_turns() -> None:
    """A new group is next, even if another group has many waiting items."""
    queue: FairQueue[str] = FairQueue(10, 10)
    for name in ("a1", "a2", "a3", "a4"):
        queue.push(name, A)
    queue.push("b1", B)
    queue.push("c1", C)
    assert _all(queue) == ["a1", "b1", "c1", "a2", "a3", "a4"]


def test_members_of_a_group_take_turns() -> None:
    """Behind one address each account has its turn."""
    queue: FairQueue[str] = FairQueue(10, 10)
    for name, member in (("x1", "x"), ("x2", "x"), ("x3", "x"), ("y1", "y")):
        queue.push(name, Source("a", member, 10))
    assert _all(queue) == ["x1", "y1", "x2", "x3"]


def test_group_has_a_limit_of_running_items() -> None:
    """A group at its limit has no turn until one of its items is finished; other groups go on."""
    queue: FairQueue[str] = FairQueue(10, 10)
    source = Source("a", None, 2)
    for name in ("a1", "a2", "a3"):
        queue.push(name, source)
    assert (queue.pop(), queue.pop(), queue.pop()) == ("a1", "a2", None)
    assert not queue.has_next
    assert len(queue) == 1
    queue.push("b1", B)
    assert queue.pop() == "b1"
    queue.finish(source)
    assert queue.pop() == "a3"


def test_member_has_a_limit_of_waiting_items() -> None:
    """An item beyond the limit of its member is refused; other members have their own limit."""
    queue: FairQueue[str] = FairQueue(10, 2)
    sources = [Source("a", member, 10) for member in ("x", "x", "x", "y")]
    assert [queue.push(str(number), source) for number, source in enumerate(sources)] == [None, None, "2", None]


def test_full_queue_drops_from_the_longest_group() -> None:
    """In a full queue an item of a shorter group replaces the newest item of the longest group."""
    queue: FairQueue[str] = FairQueue(4, 10)
    for name in ("a1", "a2", "a3", "a4"):
        queue.push(name, A)
    assert queue.push("a5", A) == "a5"
    assert queue.push("b1", B) == "a4"
    assert queue.push("c1", C) == "a3"
    assert queue.push("c2", C) == "c2", "the longest group would be no longer than its own"
    assert _all(queue) == ["a1", "b1", "c1", "a2"]


def test_full_queue_drops_from_the_longest_member() -> None:
    """Within the longest group an item of the longest member is replaced."""
    queue: FairQueue[str] = FairQueue(4, 10)
    for name, member in (("x1", "x"), ("y1", "y"), ("y2", "y"), ("y3", "y")):
        queue.push(name, Source("a", member, 10))
    assert queue.push("b1", B) == "y3"


def test_full_queue_of_one_group_drops_from_the_longest_member() -> None:
    """Within one address, an account with one request replaces the newest request of the account with most."""
    queue: FairQueue[str] = FairQueue(4, 10)
    for name in ("x1", "x2", "x3", "x4"):
        queue.push(name, Source("a", "x", 10))
    assert queue.push("y1", Source("a", "y", 10)) == "x4"
    assert queue.push("x5", Source("a", "x", 10)) == "x5"


@pytest.mark.parametrize("removed", ["a1", "a2"])
def test_removed_item_never_starts(removed: str) -> None:
    """A removed item frees its place."""
    queue: FairQueue[str] = FairQueue(2, 10)
    for name in ("a1", "a2"):
        queue.push(name, A)
    queue.remove(removed, A)
    assert len(queue) == 1
    assert queue.push("b1", B) is None
    assert sorted(_all(queue)) == sorted({"a1", "a2", "b1"} - {removed})


def test_finished_groups_are_deleted() -> None:
    """A group without items is deleted."""
    queue: FairQueue[str] = FairQueue(1, 1)
    queue.push("a1", A)
    assert queue.push("b1", B) == "b1"
    queue.pop()
    queue.finish(A)
    assert not queue._groups
    assert not queue._running
    assert not queue._turns


def test_start_without_queueing() -> None:
    """An item starts at once if nothing waits and its group is below its limit."""
    queue: FairQueue[str] = FairQueue(10, 10)
    source = Source("a", None, 2)
    assert [queue.start(source) for _ in range(3)] == [True, True, False]
    queue.push("a1", source)
    assert not queue.has_next
    assert not queue.start(B), "another item waits"
    queue.finish(source)
    assert queue.pop() == "a1"
