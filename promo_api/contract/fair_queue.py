"""A bounded queue with round-robin scheduling.

Groups take turns, and so do their members. In a full queue, a new item of a shorter group or member replaces the newest
of the longest. Not thread-safe.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Source(NamedTuple):
    """The source of a request: an account or address, and an account behind that address.

    At most `at_once` requests of a group run at the same time. It is constant for a group.
    """

    group: Hashable
    member: Hashable
    at_once: int


@dataclass
class _Group(Generic[T]):
    """The waiting items of a group."""

    key: Hashable
    at_once: int
    members: dict[Hashable, deque[T]] = field(default_factory=dict)
    waiting: int = 0


class FairQueue(Generic[T]):
    """The queue; one member gets at most `member_places` of the places."""

    def __init__(self, places: int, member_places: int) -> None:
        self._places = places
        self._member_places = member_places
        self._groups: dict[Hashable, _Group[T]] = {}
        self._running: dict[Hashable, int] = {}
        # Groups that may start an item, in the order of their turns.
        self._turns: dict[Hashable, _Group[T]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    @property
    def has_next(self) -> bool:
        """Whether an item may start now."""
        return bool(self._turns)

    def start(self, source: Source) -> bool:
        """Start an item; False: it must wait."""
        running = self._running.get(source.group, 0)
        if self._waiting or running >= source.at_once:
            return False
        self._running[source.group] = running + 1
        return True

    def push(self, item: T, source: Source) -> T | None:
        """Add an item; return the dropped item, which may be the new one, or None."""
        group = self._groups.get(source.group) or _Group(source.group, source.at_once)
        if len(group.members.get(source.member, ())) >= self._member_places:
            return item
        removed = None
        if self._waiting >= self._places:
            removed = self._make_room_for(group, source.member)
            if removed is None:
                return item
        group.members.setdefault(source.member, deque()).append(item)
        group.waiting += 1
        self._waiting += 1
        self._update(group)
        return removed

    def pop(self) -> T | None:
        """Start the next item; None: no item may start."""
        if not self._turns:
            return None
        group = self._turns.pop(next(iter(self._turns)))
        member = next(iter(group.members))
        items = group.members.pop(member)
        item = items.popleft()
        if items:
            group.members[member] = items
        group.waiting -= 1
        self._waiting -= 1
        self._running[group.key] = self._running.get(group.key, 0) + 1
        self._update(group)
        return item

    def finish(self, source: Source) -> None:
        """End an item that `start` or `pop` has started."""
        running = self._running[source.group] - 1
        if running:
            self._running[source.group] = running
        else:
            del self._running[source.group]
        if source.group in self._groups:
            self._update(self._groups[source.group])

    def remove(self, item: T, source: Source) -> None:
        """Remove a waiting item."""
        group = self._groups[source.group]
        items = group.members[source.member]
        items.remove(item)
        self._removed_from(group, source.member)

    def _make_room_for(self, group: _Group[T], member: Hashable) -> T | None:
        """Remove and return the newest item of the longest member; None: the new item's is not shorter."""
        longest = max(self._groups.values(), key=lambda each: each.waiting)
        longest_member = max(longest.members, key=lambda name: len(longest.members[name]))
        items = longest.members[longest_member]
        if longest is group:
            is_longer = len(items) > len(group.members.get(member, ())) + 1
        else:
            is_longer = longest.waiting > group.waiting + 1
        if not is_longer:
            return None
        item = items.pop()
        self._removed_from(longest, longest_member)
        return item

    def _removed_from(self, group: _Group[T], member: Hashable) -> None:
        if not group.members[member]:
            del group.members[member]
        group.waiting -= 1
        self._waiting -= 1
        self._update(group)

    def _update(self, group: _Group[T]) -> None:
        """Give the group a turn if it may start an item."""
        if not group.waiting or self._running.get(group.key, 0) >= group.at_once:
            self._turns.pop(group.key, None)
        else:
            self._turns.setdefault(group.key, group)
        if group.waiting:
            self._groups[group.key] = group
        else:
            self._groups.pop(group.key, None)
