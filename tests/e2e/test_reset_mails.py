"""Mails of password resets when processes end: no mail is lost, and a token works once on all processes."""

from pathlib import Path
from signal import SIGTERM
from threading import Event
from typing import Any

from promo_api.dev.processes import wait_gone
from tests.accounts import Account
from tests.e2e.environment import assert_no_secrets
from tests.e2e.server import Server
from tests.mailbox import Mailbox, token_of

_NEW_PASSWORD = "An0ther&Word"


def _forgot(account: Account) -> None:
    response = account.api.call("POST", "/user/auth/forgot-password", json={"email": account.email})
    assert response.status_code == 200, response.text


def _reset(account: Account, token: str) -> int:
    body = {"token": token, "password": _NEW_PASSWORD}
    return int(account.api.call("POST", "/user/auth/reset-password", json=body).status_code)


def test_worker_killed_in_data(empty_database: dict[str, str], tmp_path: Path) -> None:
    """If a worker is killed while the mail server accepts its mail, another sends the same mail again."""
    mailbox, killed = Mailbox(), Event()
    with mailbox.server():
        settings = empty_database | {"SMTP_URL": mailbox.url, "SMTP_TIMEOUT_S": "0.5"}
        with Server(settings, tmp_path) as server:

            def kill_the_sender(connection: Any) -> None:
                if not killed.is_set():
                    port = connection.session.peer[1]
                    [sender] = [
                        worker
                        for worker in server.workers()
                        if port in {each.laddr.port for each in worker.net_connections()}
                    ]
                    sender.kill()
                    assert wait_gone([sender], 10)
                    killed.set()

            mailbox.data = kill_the_sender
            user = server.accounts.sign_up_user()
            _forgot(user)
            first, second, *_ = mailbox.to(user.email, 2)
            assert killed.is_set()
            assert (token_of(first), first["Message-ID"]) == (token_of(second), second["Message-ID"])
            assert [_reset(user, token_of(second)) for _ in range(4)] == [200, 400, 400, 400]
    assert_no_secrets(server)


def test_stop_while_the_mail_server_hangs(empty_database: dict[str, str], tmp_path: Path) -> None:
    """A mail server that never completes its response does not delay a stop; the mail is sent after the next start."""
    mailbox, in_data, released = Mailbox(), Event(), Event()

    def hang(connection: Any) -> str:
        in_data.set()
        # A part of a response keeps the connection alive beyond the timeout.
        while not released.wait(0.2):
            connection.transport.write(b"2")
        return "451 no"

    mailbox.data = hang
    with mailbox.server():
        mails = {"SMTP_URL": mailbox.url, "SMTP_TIMEOUT_S": "1"}
        # The master would kill the worker after eight seconds.
        with Server(empty_database | mails | {"SERVER_STOP_TIMEOUT_S": "3"}, tmp_path) as server:
            user = server.accounts.sign_up_user()
            _forgot(user)
            assert in_data.wait(20)
            server.signal(SIGTERM)
            assert server.wait() == 0
            assert "SIGKILL" not in server.log
            mailbox.data = lambda _connection: None
            released.set()
            assert mailbox.now(user.email) == []
            server.start()
            assert _reset(user, mailbox.token(user.email)) == 200
    assert "job_failed" not in server.log
    assert_no_secrets(server)
