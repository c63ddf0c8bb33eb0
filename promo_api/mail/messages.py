"""The mails, in plain text and HTML. They load nothing from the network."""

from collections.abc import Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from html import escape
from string import Template

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


def reset_message(
    sender: str, recipient: str, link: str, *, date: datetime, expires_at: datetime, reference: str
) -> EmailMessage:
    """Return the mail with the link to reset a password.

    `reference` makes the Message-ID, so a mail that is sent twice is recognised. Raise ValueError if the address of the
    recipient cannot be in a mail.
    """
    values = {"link": link, "expires_at": f"{expires_at:%Y-%m-%d %H:%M} UTC"}
    message = EmailMessage(policy=SMTP)
    message["Subject"] = _SUBJECT
    message["From"] = sender
    message["To"] = Address(addr_spec=recipient)
    message["Date"] = format_datetime(date)
    message["Message-ID"] = f"<{reference}@{parseaddr(sender)[1].rpartition('@')[2]}>"
    # Asks for no automatic replies (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_TEXT.substitute(values))
    message.add_alternative(_HTML.substitute(_escaped(values)), subtype="html")
    return message


def _escaped(values: Mapping[str, str]) -> dict[str, str]:
    return {name: escape(value) for name, value in values.items()}
