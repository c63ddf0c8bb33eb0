"""The mailbox of `make run`."""

from datetime import UTC, datetime
from pathlib import Path

from promo_api.config.settings import Settings
from promo_api.config.smtp_url import SmtpUrl
from promo_api.dev.mailbox import dev_mailbox
from promo_api.mail.messages import reset_message
from promo_api.mail.smtp import Mailer


def test_mail_is_stored_and_printed(settings: Settings, tmp_path: Path) -> None:
    """A mail is stored as a file, and printed with its recipient, its link and the file; also after a restart."""
    printed: list[str] = []
    mailbox, link = dev_mailbox(tmp_path / "mail", printed.append), "https://shop.example/user/reset#token"
    now = datetime.now(UTC)
    message = reset_message(settings.mail_from, "a@b.example", link, date=now, expires_at=now, reference="1")
    for number in (1, 2):
        with mailbox:
            Mailer(settings, SmtpUrl.parse(f"smtp://{mailbox.address}")).send(message, "a@b.example")
        files = sorted((tmp_path / "mail").iterdir())
        assert len(files) == number
        assert b"Subject: Reset your password" in files[-1].read_bytes()
        assert printed[-1].split() == ["Mail", "to", "a@b.example:", "Reset", "your", "password", link, str(files[-1])]
