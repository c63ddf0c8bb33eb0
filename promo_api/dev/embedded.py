"""What all servers of the sandbox have in common: they run for the time of a block."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Embedded(ABC):
    """A server that this process starts and stops."""

    @abstractmethod
    def start(self) -> None:
        """Start it."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it."""

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()
