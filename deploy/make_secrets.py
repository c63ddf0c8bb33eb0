"""Write the secrets of docker-compose.yml to its volumes; the container `key` runs this before all others.

A value in .env takes precedence over the existing secret; a missing secret is generated. Files are written atomically,
so an interrupted start leaves no incomplete secret.
"""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

_PRIVATE, _FOR_REDIS = 0o600, 0o644


def make_secrets(environment: Mapping[str, str], service: Path, owner: Path, redis: Path) -> None:
    """Write the secrets.

    Args:
        environment: the values of .env.
        service: the folder for the service.
        owner: the folder for the role that migrates; the service does not see it.
        redis: the folder for Redis and the service. Redis runs as another user and must be able to read it.
    """
    _write_secret(service / "secret-key", "")
    _write_secret(service / "postgres-password", environment.get("POSTGRES_PASSWORD", ""))
    _write_secret(owner / "password", environment.get("OWNER_PASSWORD", ""))
    password = _write_secret(redis / "password", environment.get("REDIS_PASSWORD", ""), _FOR_REDIS)
    # In the file and not on the command line, which `ps` shows. Escaped, so that no character ends the string.
    escaped = "".join(f"\\x{byte:02x}" for byte in password.encode())
    _write(redis / "redis.conf", f'requirepass "{escaped}"\n', _FOR_REDIS)


def _write_secret(file: Path, given: str, mode: int = _PRIVATE) -> str:
    """Write a secret if it has changed, and return it."""
    current = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    secret = given or current or secrets.token_urlsafe(48)
    if secret != current:
        _write(file, secret, mode)
    return secret


def _write(file: Path, text: str, mode: int) -> None:
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode)
    unfinished.chmod(mode)  # the umask may have removed some of it
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(file)


if __name__ == "__main__":
    make_secrets(os.environ, *(Path(folder) for folder in sys.argv[1:]))
