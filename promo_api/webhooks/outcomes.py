"""What comes of an attempt to deliver an event."""

from dataclasses import dataclass

TOO_LARGE, EVENT_DELETED, SECRET_UNREADABLE = "too_large", "event_deleted", "secret_unreadable"
_SUCCESS = range(200, 300)


@dataclass(frozen=True)
class Outcome:
    """The status of a response, or the reason why there was none."""

    status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def has_succeeded(self) -> bool:
        """Whether the receiver has accepted the event."""
        return self.status in _SUCCESS

    @property
    def result(self) -> str:
        """The outcome as a word of a fixed set."""
        return self.error or ("succeeded" if self.has_succeeded else "refused")
