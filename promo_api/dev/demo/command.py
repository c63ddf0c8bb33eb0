"""The command `demo`: the service with example data that ends today."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from promo_api.config.settings import Settings
from promo_api.dev.demo.catalog import MAIN
from promo_api.dev.demo.filling import fill
from promo_api.dev.demo.people import FIRST_EMAIL
from promo_api.dev.demo.receiver import WebhookReceiver
from promo_api.dev.embedded import DevError
from promo_api.dev.ports import free_port
from promo_api.dev.run import PROGRAM, print_line, run_dev
from promo_api.errors import ServiceUnavailable

# Of all accounts of the demo, which only this machine can reach by default.
PASSWORD = "Demo-password-1"  # noqa: S105 of example data; `make demo` prints it
_HOST = "127.0.0.1"
# The demo uses only servers that it has started, and its key.
_IGNORED = ("POSTGRES_", "REDIS_", "SMTP_", "ANTIFRAUD_ADDRESS", "SECRET_KEY")
_DEFAULTS = {"WEBHOOK_HTTP_ALLOWED": "true", "WEBHOOK_ALLOWED_NETWORKS": f"{_HOST}/32"}
# One connection, because the clock of the demo is that of a session.
_FILLING = {"POSTGRES_POOL_SIZE": "1", "POSTGRES_STATEMENT_TIMEOUT_S": "300"}


def run_demo(
    environment: Mapping[str, str], folder: Path = Path(".promo-demo"), program: Sequence[str] = PROGRAM
) -> int:
    """Run the service with example data, until Ctrl-C; see run_dev for the exit status."""
    used = {name: value for name, value in environment.items() if value and not name.startswith(_IGNORED)}
    return run_dev(_DEFAULTS | used, folder, program, Demo(folder / "filled.json"))


@dataclass(frozen=True)
class _Filled:
    """What is stored about the data.

    Attributes:
        filled_at: the end of the month, in ISO 8601.
        api_key: of the main company.
        webhook_port: of the receiver.
    """

    filled_at: str
    api_key: str
    webhook_port: int


class Demo:
    """The example data, see Content. It is replaced on another day, because charts would end in the past.

    Args:
        file: says what the database has; missing while it is filled.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._filled = _read(file)
        self._port = free_port(_HOST) if self._filled is None else self._filled.webhook_port
        # Decided once: the run may go on after midnight.
        self._is_stored = self._filled is not None and _day(self._filled) == datetime.now().astimezone().date()

    @property
    def is_stored(self) -> bool:
        """Whether the database has data of the day on which the run has begun."""
        return self._is_stored

    def start(self, stack: ExitStack) -> None:
        """Start the receiver of the webhook. Without it the webhook fails, and all else works."""
        try:
            stack.enter_context(WebhookReceiver(self._port, print_line))
        except DevError as error:
            print_line(f"The webhook of the demo does not work now. {error}")

    def fill(self, environment: Mapping[str, str], report: Callable[[str], None]) -> None:
        """Fill the database, and store that it is filled."""
        if self._filled is not None:
            report(f"that of {_day(self._filled):%d %B} is replaced, so that it ends today")
        self._file.unlink(missing_ok=True)
        settings = Settings.from_environment({**environment, **_FILLING})
        url = WebhookReceiver.url(self._port)
        filled_at = datetime.now(UTC).isoformat()
        try:
            api_key = fill(settings, password=PASSWORD, webhook_url=url, report=report)
        except ServiceUnavailable as error:
            raise DevError(f"The database cannot be filled: {error.reason}.") from error
        self._filled = _Filled(filled_at, api_key, self._port)
        _write(self._file, self._filled)

    def describe(self) -> str:
        """Return the sign-ins."""
        api_key = "" if self._filled is None else self._filled.api_key
        return (
            f"\n  Sign in as company   {MAIN.email}, password {PASSWORD}\n"
            f"  API key              {api_key} (header X-Api-Key)\n"
            f"  Sign in as user      {FIRST_EMAIL}, password {PASSWORD} (API only)\n\n"
            "All accounts have this password. The data covers the last 30 days.\n"
            "A start on another day replaces it, with all that you have changed.\n"
        )


def _day(filled: _Filled) -> object:
    return datetime.fromisoformat(filled.filled_at).astimezone().date()


def _read(file: Path) -> _Filled | None:
    with suppress(OSError, ValueError, TypeError):
        return _Filled(**json.loads(file.read_text()))
    return None


def _write(file: Path, filled: _Filled) -> None:
    """Write the file as a whole; only its owner can read the key."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as opened:
        json.dump(asdict(filled), opened)
    unfinished.replace(file)
