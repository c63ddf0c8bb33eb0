"""Listening sockets and free ports."""

import errno
import secrets
import socket

from promo_api.dev.embedded import DevError

# Below the ephemeral ports: while a server restarts, a client could get one and connect to itself.
_FIRST_PORT, _PORTS = 20000, 12000
_ATTEMPTS = 100
_OTHER_PORTS = (8081, 8082)


def free_port(host: str) -> int:
    """Return a free port of `host`, or raise DevError."""
    with listen(host, None) as listener:
        return int(listener.getsockname()[1])


def listen(host: str, port: int | None) -> socket.socket:
    """Listen on a port (None: a free one), or raise DevError."""
    for _ in range(_ATTEMPTS if port is None else 1):
        try:
            return _listening_socket(host, _FIRST_PORT + secrets.randbelow(_PORTS) if port is None else port)
        except OSError as error:
            if port is not None or error.errno != errno.EADDRINUSE:
                where = host if port is None else f"port {port} of {host}"
                raise DevError(f"Cannot listen on {where}: {_reason(error)}.") from error
    raise DevError(f"No port of {host} is free.")


def check_service_port(host: str, port: int) -> None:
    """Raise DevError if the service cannot listen there."""
    try:
        _listening_socket(host, port).close()
    except OSError as error:
        other = _OTHER_PORTS[port == _OTHER_PORTS[0]]
        if error.errno == errno.EADDRINUSE:
            problem = f"Port {port} of {host} is in use by another program. Stop that program"
        else:
            problem = f"The API cannot listen on port {port} of {host}: {_reason(error)}. Change that"
        raise DevError(f"{problem}, or set another address, for example SERVER_ADDRESS={host}:{other}.") from error


def _listening_socket(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # A port in TIME_WAIT is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
