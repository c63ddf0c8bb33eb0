"""The base class of the embedded servers."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class DevError(Exception):
    """A server cannot be started or stopped. The message is a sentence for the user."""


class EmbeddedServer(ABC):
    """A server that this process starts and stops; a context manager."""

    @abstractmethod
    def start(self) -> None:
        """Start the server. Does nothing if it is running."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the server. Does nothing if it is not running."""

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()
