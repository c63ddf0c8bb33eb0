"""An outbox of mails as a process sees it, for tests of each kind of mail."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Thread
from typing import Any

import pytest

from promo_api.config.settings import Settings
from promo_api.mail.reset_mails import ResetMails
from promo_api.mail.smtp import Mailer
from promo_api.mail.webhook_mails import WebhookMails
from promo_api.runtime import Runtime
from tests.accounts import Api

_PROCESSES = 4


@dataclass
class Outbox:
    """An outbox at a time that a test sets. `mails` sends what is due."""

    runtime: Runtime
    settings: Settings
    api: Api
    now: datetime
    mails: Callable[..., ResetMails | WebhookMails]

    def sweep(self, **changes: Any) -> int:
        """Send the next mail with changed settings, and return whether one was due."""
        return self.mails(replace(self.settings, **changes), self.runtime.database, lambda: self.now).send_next()

    def sweep_and_die(self, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
        """Send the next mail in a process that dies after the mail server has accepted it."""
        original = Mailer.send

        def send_and_die(mailer: Mailer, *mail: Any) -> None:
            original(mailer, *mail)
            raise SystemExit

        with monkeypatch.context() as patch:
            patch.setattr(Mailer, "send", send_and_die)
            with pytest.raises(SystemExit):
                self.sweep(**changes)

    def sweep_concurrently(self, **changes: Any) -> None:
        """Send all mails that are due, in several processes."""

        def sweep_all() -> None:
            while self.sweep(**changes):
                pass

        threads = [Thread(target=sweep_all) for _ in range(_PROCESSES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def have_doubled(pauses_s: list[float]) -> bool:
    """Return whether pauses double up to five minutes, each up to a quarter shorter."""
    expected = [5, 10, 20, 40, 80, 160, *[300] * len(pauses_s)]
    return all(0.74 * most <= pause <= most for pause, most in zip(pauses_s, expected, strict=False))
