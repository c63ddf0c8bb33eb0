"""The mails, in plain text and HTML. They load nothing from the network."""

from collections.abc import Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from html import escape
from string import Template
from urllib.parse import urlsplit

from persistence.webhooks.mails import DisabledWebhook

_SUBJECT = "Reset your password"
_TEXT = Template("""\
Someone asked to reset the password of your account. To set a new password, open this link:

$link

The link works once, until $expires_at. Earlier links do not work any more.

If this was not you, ignore this mail. Your password has not changed.
""")
_HTML = Template("""\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Reset your password</title></head>
<body style="font-family: sans-serif; line-height: 1.5">
<p>Someone asked to reset the password of your account. To set a new password, open this link:</p>
<p><a href="$link">$link</a></p>
<p>The link works once, until $expires_at. Earlier links do not work any more.</p>
<p>If this was not you, ignore this mail. Your password has not changed.</p>
</body>
</html>
""")


_WEBHOOK_SUBJECT = "A webhook was disabled"
_WEBHOOK_TEXT = Template("""\
A webhook of your company was disabled: it receives no events any more.

Webhook: $id
Host: $host
Disabled: $disabled_at
Reason: $reason

To receive events again:

1. Correct the receiver.
2. Enable the webhook: PATCH /business/webhooks/$id with {"enabled": true}. Waiting deliveries are sent then.
3. Request the events that were missed: POST /business/webhooks/$id/redeliver with {"since": "$since"}.

Events are stored for $events_days days.
""")
_WEBHOOK_HTML = Template("""\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>A webhook was disabled</title></head>
<body style="font-family: sans-serif; line-height: 1.5">
<p>A webhook of your company was disabled: it receives no events any more.</p>
<p>Webhook: $id<br>Host: $host<br>Disabled: $disabled_at<br>Reason: $reason</p>
<p>To receive events again:</p>
<ol>
<li>Correct the receiver.</li>
<li>Enable the webhook: <code>PATCH /business/webhooks/$id</code> with <code>{"enabled": true}</code>. Waiting
deliveries are sent then.</li>
<li>Request the events that were missed: <code>POST /business/webhooks/$id/redeliver</code> with
<code>{"since": "$since"}</code>.</li>
</ol>
<p>Events are stored for $events_days days.</p>
</body>
</html>
""")
_WEBHOOK_REASONS = {
    "gone": "The receiver responded with status 410, so it wants no more deliveries.",
    "failing": "No delivery has succeeded since $failing_since.",
}


def reset_message(
    sender: str, recipient: str, link: str, *, date: datetime, expires_at: datetime, reference: str
) -> EmailMessage:
    """Return the mail with the link to reset a password.

    `reference` makes the Message-ID, so a mail that is sent twice is recognised. Raise ValueError if the address of the
    recipient cannot be in a mail.
    """
    message = _message(sender, recipient, _SUBJECT, date=date, reference=reference)
    _set_texts(message, _TEXT, _HTML, {"link": link, "expires_at": _minute(expires_at)})
    return message


def disabled_webhook_message(
    sender: str, recipient: str, webhook: DisabledWebhook, *, date: datetime, events_days: int
) -> EmailMessage:
    """Return the mail about a webhook that the service has disabled; ValueError as in `reset_message`."""
    reference = f"{webhook.id}.{webhook.disabled_at:%Y%m%d%H%M%S}"
    message = _message(sender, recipient, _WEBHOOK_SUBJECT, date=date, reference=reference)
    reason = Template(_WEBHOOK_REASONS[webhook.reason])
    values = {
        "id": str(webhook.id),
        "host": urlsplit(webhook.url).hostname or "",
        "disabled_at": _minute(webhook.disabled_at),
        "reason": reason.substitute(failing_since=_minute(webhook.failing_since)),
        "since": f"{webhook.failing_since:%Y-%m-%dT%H:%M:%SZ}",
        "events_days": str(events_days),
    }
    _set_texts(message, _WEBHOOK_TEXT, _WEBHOOK_HTML, values)
    return message


def _message(sender: str, recipient: str, subject: str, *, date: datetime, reference: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["Subject"] = subject
    message["From"] = sender
    message["To"] = Address(addr_spec=recipient)
    message["Date"] = format_datetime(date)
    message["Message-ID"] = f"<{reference}@{parseaddr(sender)[1].rpartition('@')[2]}>"
    # Asks for no automatic replies (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    return message


def _set_texts(message: EmailMessage, text: Template, html: Template, values: Mapping[str, str]) -> None:
    message.set_content(text.substitute(values))
    message.add_alternative(html.substitute({name: escape(value) for name, value in values.items()}), subtype="html")


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
