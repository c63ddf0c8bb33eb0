"""Faults of a mail server at each step: a reason for the log, and whether the mail is tried again."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event, Thread

import pytest

from promo_api.config.settings import Settings
from promo_api.config.smtp_url import SmtpUrl
from promo_api.dev.ports import listen
from promo_api.mail.messages import reset_message
from promo_api.mail.smtp import Mailer, MailError
from tests.cases import all_cases

_RECIPIENT = "anna@mail.example"
_CLOSE, _HANG = "close", "hang"
_RESPONSES = {"greeting": "220 ready", "DATA": "354 go", "QUIT": "221 bye"}
_STARTTLS = {"EHLO": "250-ready\r\n250 STARTTLS"}
_HELLO = ("EHLO", "HELO")


class _Server:
    """Serves one connection. `responses`: by command, `greeting` and `end` of the mail; a line, _CLOSE or _HANG."""

    def __init__(self, responses: Mapping[str, str]) -> None:
        self._responses = {**_RESPONSES, **responses}
        self._released = Event()

    @contextmanager
    def running(self) -> Iterator[SmtpUrl]:
        """Return the address of the server during a block."""
        with listen("127.0.0.1", None) as listener:
            thread = Thread(target=self._serve, args=(listener,))
            thread.start()
            try:
                yield SmtpUrl.parse(f"smtp://127.0.0.1:{listener.getsockname()[1]}")
            finally:
                self._released.set()
                thread.join()

    def _serve(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines, suppress(ConnectionError):
            is_open, in_data = self._respond(connection, "greeting"), False
            while is_open and (line := lines.readline()):
                if in_data and line != b".\r\n":
                    continue
                command = "end" if in_data else line[:8].split()[0].decode("latin-1").upper()
                is_open = self._respond(connection, command)
                in_data = command == "DATA" and is_open and self._responses["DATA"].startswith("354")

    def _respond(self, connection: socket.socket, command: str) -> bool:
        """Send the response to a command, and return whether the connection goes on."""
        response = self._responses.get(command, "250 OK")
        if response == _HANG:
            self._released.wait(60)
        if response in (_CLOSE, _HANG):
            return False
        connection.sendall(f"{response}\r\n".encode())
        return True


def _send(settings: Settings, url: SmtpUrl) -> None:
    now = datetime.now(UTC)
    message = reset_message(
        settings.mail_from, _RECIPIENT, "https://x.example/#t", date=now, expires_at=now, reference="1"
    )
    Mailer(replace(settings, smtp_timeout_s=0.5), url).send(message, _RECIPIENT)


def _assert_fault(settings: Settings, responses: Mapping[str, str], reason: str, *, is_permanent: bool = False) -> None:
    with _Server(responses).running() as url, pytest.raises(MailError) as caught:
        _send(settings, url)
    assert (caught.value.reason, caught.value.is_permanent) == (reason, is_permanent)


@all_cases("step", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "end"])
def test_connection_ends(settings: Settings, step: str) -> None:
    """If the connection ends before the mail is accepted, it is sent later."""
    _assert_fault(settings, {step: _CLOSE}, "disconnected")


@all_cases("step", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "end"])
def test_server_hangs(settings: Settings, step: str) -> None:
    """If the server does not respond in time, the mail is sent later."""
    _assert_fault(settings, {step: _HANG}, "timeout")


@all_cases("case", [(step, code) for step in ("RCPT", "DATA", "end") for code in (421, 450, 500, 554)])
def test_refused_mail(settings: Settings, case: tuple[str, int]) -> None:
    """The server decides about the mail: it is sent later after a 4xx, and dropped after a 5xx."""
    step, code = case
    reason = "refused" if code >= 500 else "deferred"
    _assert_fault(settings, {step: f"{code} no"}, reason, is_permanent=code >= 500)


@all_cases(
    "case",
    [
        *(({"greeting": f"{code} no"}, "unavailable") for code in (421, 554)),
        *((dict.fromkeys(_HELLO, f"{code} no"), "unavailable") for code in (421, 502)),
        *(({"MAIL": f"{code} no"}, "sender_refused") for code in (421, 451, 530, 550)),
        ({"greeting": "no SMTP"}, "unavailable"),
        ({"greeting": "2" * 20_000}, "unavailable"),
    ],
)
def test_refused_service(settings: Settings, case: tuple[dict[str, str], str]) -> None:
    """A refusal before the recipient is no decision about the mail: it is sent later, also after a 5xx."""
    _assert_fault(settings, *case)


@all_cases(
    "case",
    [("454 no", "unavailable"), ("501 no", "unavailable"), ("220 go\r\nno TLS", "tls_failed"), (_HANG, "timeout")],
)
def test_refused_starttls(settings: Settings, case: tuple[str, str]) -> None:
    """If STARTTLS, which the server offers, fails, the mail is sent later and never in plain text."""
    response, reason = case
    _assert_fault(settings, {**_STARTTLS, "STARTTLS": response, "MAIL": "221 plain text"}, reason)


@all_cases("response", [_CLOSE, _HANG, "500 no"])
def test_fault_after_the_mail(settings: Settings, response: str) -> None:
    """A fault after the mail was accepted does not matter."""
    with _Server({"QUIT": response}).running() as url:
        _send(settings, url)


def test_unknown_host(settings: Settings) -> None:
    """If the name of the server is not known, the mail is sent later."""
    with pytest.raises(MailError) as caught:
        _send(settings, SmtpUrl.parse("smtp://mail.invalid"))
    assert (caught.value.reason, caught.value.is_permanent) == ("unavailable", False)
