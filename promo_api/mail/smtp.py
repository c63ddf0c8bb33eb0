"""Sends mails by SMTP. The server must continue each response within a time limit."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.utils import parseaddr

from promo_api.config.settings import Settings
from promo_api.config.smtp_url import SmtpUrl

# A mail needs fewer responses.
RESPONSES_MAX = 12
_PERMANENT = 500
# The first that fits; others are "unavailable". Each may be corrected while the mail waits: the password, the
# certificate, the sender.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (smtplib.SMTPAuthenticationError, "login_failed"),
    (smtplib.SMTPSenderRefused, "sender_refused"),
    (smtplib.SMTPServerDisconnected, "disconnected"),
    (smtplib.SMTPNotSupportedError, "not_supported"),  # STARTTLS, AUTH, or an address that is not ASCII
    (ssl.SSLError, "tls_failed"),
    (TimeoutError, "timeout"),
)


class MailError(Exception):
    """A mail was not sent, as far as is known; `reason` is a constant word."""

    def __init__(self, reason: str, *, is_permanent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_permanent = is_permanent


class Mailer:
    """Sends mails, each over its own connection."""

    def __init__(self, settings: Settings, url: SmtpUrl) -> None:
        self._url = url
        self._ca_file = settings.smtp_ca_file or None
        self._timeout_s = settings.smtp_timeout_s
        self.sender = settings.mail_from

    def send(self, message: EmailMessage, recipient: str) -> None:
        """Send a mail, or raise MailError. It may be sent even then, if the server accepted it and then failed."""
        with _translated(), self._connect() as client:
            client.send_message(message, parseaddr(self.sender)[1], [recipient])
            # The mail is accepted: a failure of QUIT does not matter.
            with suppress(smtplib.SMTPException, OSError):
                client.quit()

    def ping(self) -> None:
        """Connect and sign in, or raise MailError."""
        with _translated(), self._connect() as client:
            client.noop()

    @contextmanager
    def _connect(self) -> Iterator[smtplib.SMTP]:
        url, context = self._url, ssl.create_default_context(cafile=self._ca_file)
        if url.tls:
            client: smtplib.SMTP = smtplib.SMTP_SSL(url.host, url.port, timeout=self._timeout_s, context=context)
        else:
            client = smtplib.SMTP(url.host, url.port, timeout=self._timeout_s)
        try:
            client.ehlo_or_helo_if_needed()
            if not url.tls and (url.starttls_required or client.has_extn("starttls")):
                client.starttls(context=context)
            if url.username and url.password:
                client.login(url.username, url.password)
            yield client
        finally:
            client.close()


@contextmanager
def _translated() -> Iterator[None]:
    """Raise MailError for each error of smtplib and of the network."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        [(code, _)] = error.recipients.values()
        raise _refused(code) from None
    except smtplib.SMTPDataError as error:
        raise _refused(error.smtp_code) from None
    except (smtplib.SMTPException, OSError) as error:
        # smtplib reports a timeout as a disconnect.
        cause = error.__context__ if isinstance(error.__context__, TimeoutError) else error
        for kind, reason in _REASONS:
            if isinstance(cause, kind):
                raise MailError(reason) from None
        raise MailError("unavailable") from None


def _refused(code: int) -> MailError:
    """Return the error for a response that decides about the recipient or the content."""
    return MailError("refused", is_permanent=True) if code >= _PERMANENT else MailError("deferred")
