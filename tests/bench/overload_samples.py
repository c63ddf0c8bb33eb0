"""The limits that hold for honest clients during overload, and the result of a run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

PING_MAX_S = 1.0
REQUEST_MAX_S = 2.0
SIGN_INS_MIN = 0.9
LEFT_MAX_MB = 60
MAX_PIPELINED_MB = 100
# Without a complete response after this time, the client disconnects.
RESPONSE_MAX_S = 10.0

PING, PROFILE, ACTIVATION, SIGN_IN, FEED = "ping", "profile", "activation", "sign-in", "feed"


class Sample(NamedTuple):
    """A request of an honest client.

    Attributes:
        kind: one of the names above.
        sent_s: by time.monotonic.
        took_s: until the response was complete.
        status: 0: no complete response.
    """

    kind: str
    sent_s: float
    took_s: float
    status: int


class Memory(NamedTuple):
    """The RSS of a worker in MB: before the abuse, at most, and some seconds after it."""

    before: float
    most: float
    after: float


@dataclass(frozen=True)
class Outcome:
    """The measurements while one abusive client ran.

    Attributes:
        samples: of the honest clients, from the start of the abuse on.
        memory: of each worker.
        cut: responses of the abusive client that ended early although the client read them.
        killed: workers that ended.
        grown_max_mb: how much memory a worker may take in addition at any moment; None: any amount.
    """

    samples: Sequence[Sample]
    memory: Sequence[Memory]
    cut: int = 0
    killed: int = 0
    grown_max_mb: float | None = None

    def took_s(self, kind: str) -> list[float]:
        """Return how long the requests of a kind took."""
        return [sample.took_s for sample in self.samples if sample.kind == kind]

    def served(self, kind: str) -> float:
        """Return the share of the requests of a kind with status 200; 0 if there were no requests."""
        statuses = [sample.status for sample in self.samples if sample.kind == kind]
        return statuses.count(200) / len(statuses) if statuses else 0.0

    @property
    def all_cut(self) -> int:
        """How many responses ended early or did not come, those to honest clients included."""
        return self.cut + sum(sample.status == 0 for sample in self.samples)

    @property
    def worst_memory(self) -> Memory:
        """The memory of the worker that grew most."""
        return max(self.memory, key=lambda memory: memory.most - memory.before)

    def broken(self) -> list[str]:
        """Return the names of the broken limits."""
        kinds = {sample.kind for sample in self.samples} | {PING, PROFILE, ACTIVATION}
        checks = {
            f"ping took {PING_MAX_S:.0f} s": worst(self.took_s(PING)) >= PING_MAX_S,
            **{
                f"{kind} took {REQUEST_MAX_S:.0f} s": worst(self.took_s(kind)) >= REQUEST_MAX_S
                for kind in sorted(kinds - {PING, SIGN_IN})
            },
            **{f"{kind} not served": self.served(kind) < 1 for kind in sorted(kinds - {SIGN_IN})},
            "sign-ins not served": self.served(SIGN_IN) < SIGN_INS_MIN,
            "memory not returned": any(each.after - each.before > LEFT_MAX_MB for each in self.memory),
            "memory at a moment": self.grown_max_mb is not None
            and any(each.most - each.before > self.grown_max_mb for each in self.memory),
            "responses cut": self.all_cut > 0,
            "workers killed": self.killed > 0,
        }
        return [name for name, is_broken in checks.items() if is_broken]

    def __str__(self) -> str:
        """Return the figures as columns, as `HEADER` names them, and the verdict."""
        memory = self.worst_memory
        broken = ", ".join(self.broken())
        verdict = f"NOT MET: {broken}" if broken else "met"
        columns = [f"{worst(self.took_s(PING)) * 1000:6.0f}"]
        for kind in (PROFILE, ACTIVATION):
            took_s = self.took_s(kind)
            columns += [f"{percentile(took_s, 99) * 1000:7.0f}{worst(took_s) * 1000:7.0f}"]
        columns += [f"{self.served(SIGN_IN):9.1%}", f"{memory.before:7.0f}{memory.most:6.0f}{memory.after:6.0f}"]
        columns += [f"{self.all_cut:5}{self.killed:7}", f"  {verdict}"]
        return "".join(columns)


HEADER = (
    f"{'':24}{'ping':>6}{'profile':>14}{'activation':>14}{'sign-ins':>9}{'memory of a worker':>19}{'':>12}\n"
    f"{'':24}{'worst':>6}{'p99':>7}{'worst':>7}{'p99':>7}{'worst':>7}{'served':>9}"
    f"{'before':>7}{'most':>6}{'after':>6}{'cut':>5}{'killed':>7}"
)


def worst(took_s: Iterable[float]) -> float:
    """Return the greatest value; infinity if there is none, because nothing was measured."""
    return max(took_s, default=float("inf"))


def percentile(took_s: Sequence[float], percent: int) -> float:
    """Return the percentile of the values by nearest rank; infinity if there is none."""
    if not took_s:
        return float("inf")
    return sorted(took_s)[ceil(len(took_s) * percent / 100) - 1]
