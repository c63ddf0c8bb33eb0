"""Free ports and taken ones."""

import errno
import secrets
import socket

from promo_api.dev import SandboxError

# Below the range that systems give to outgoing connections. A port of that range could go to any client while its
# server restarts, even to the one that tries to reach it: loopback then connects it to itself.
_FIRST_PORT, _PORTS = 20000, 12000
_ATTEMPTS = 100
# What is proposed instead of a taken one.
_OTHER_PORTS = (8081, 8082)


def free_port(host: str) -> int:
    """Return a port of `host` that nothing listens on right now.

    Raises:
        SandboxError: there is none.
    """
    with listen(host, None) as listener:
        return int(listener.getsockname()[1])


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on a port of `host`; None: on a free one.

    Raises:
        SandboxError: it can't listen there.
    """
    if port is not None:
        return _listen(host, port)
    for _ in range(_ATTEMPTS):
        try:
            return _bound(host, _FIRST_PORT + secrets.randbelow(_PORTS))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SandboxError(f"{host} can't be listened on: {_reason(error)}.") from error
    raise SandboxError(f"No free port was found on {host}.")


def check_free(host: str, port: int) -> None:
    """Do nothing if the service can listen there.

    Raises:
        SandboxError: it can't; the sentence names SERVER_ADDRESS as the way out.
    """
    try:
        _bound(host, port).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            problem = f"Port {port} of {host} is taken by another program: stop it"
        else:
            problem = f"The API can't listen on port {port} of {host} ({_reason(error)}): change that"
        other = _OTHER_PORTS[port == _OTHER_PORTS[0]]
        raise SandboxError(f"{problem}, or give another address, as in SERVER_ADDRESS={host}:{other}.") from error


def _listen(host: str, port: int) -> socket.socket:
    try:
        return _bound(host, port)
    except OSError as error:
        raise SandboxError(f"Port {port} of {host} can't be listened on: {_reason(error)}.") from error


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # Connections of a server that ended a moment ago may linger there; they don't count as taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
