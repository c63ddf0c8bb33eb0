"""Rejections: the response to HEAD has no body."""

import pytest

from tests.server.connection import BROKEN, Connection, run


@pytest.mark.parametrize(
    ("sent", "has_body"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", False),
        (b"HEAD / HTTP/1.1\r\nHost x\r\n\r\n", False),
        (b"HEAD / HTTP/9.9\r\nHost: x\r\n\r\n", False),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n", False),
        (BROKEN.replace(b"POST", b"HEAD"), False),
        (BROKEN.replace(b"POST", b"HEAD").replace(b"Host: x", b"Host: x\r\nConnection: upgrade\r\nUpgrade: a"), False),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + b"nonsense\r\n\r\n", True),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + b"\r\n" * 40_000, True),
        (b"HEADS / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost x\r\n\r\n", True),
    ],
)
def test_rejection_of_head(sent: bytes, has_body: bool) -> None:
    """The rejection of a HEAD request has no body; another request after a HEAD gets one."""

    async def main(connection: Connection) -> None:
        connection.application.size_bytes = 0
        connection.send(sent)
        content = b""
        while part := await connection.receive():
            content += part
        assert b"\r\nconnection: close\r\n" in content
        assert content.endswith(b"}") is has_body
        assert content.endswith(b"\r\n\r\n") is not has_body

    run(main)
