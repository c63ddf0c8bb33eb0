"""The base class of the embedded servers."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class DevError(Exception):
    """An error whose message is a sentence for the user."""


class EmbeddedServer(ABC):
    """A server that is a context manager."""

    @abstractmethod
    def start(self) -> None:
        """Start the server unless it is running."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the server if it is running."""

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()
