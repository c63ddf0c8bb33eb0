"""The folder of a `dev`: its lock and its secret key."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from promo_api.dev import SandboxError

_KEY_BYTES = 48
_KEY_LENGTH = 64  # of so many bytes in base64


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and keep it to this process; the system gives it back when the process ends in whatever way.

    Raises:
        SandboxError: another `dev` has it, or it can't be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise SandboxError(f"The folder {folder} can't be used: {(error.strerror or str(error)).lower()}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read() or "unknown"
            raise SandboxError(
                f"Another dev (process {owner}) runs on the folder {folder}: use that one, or stop it first."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def secret_key(folder: Path) -> str:
    """Return the key that is kept in the folder; the first time, a new one."""
    file = folder / "secret_key"
    with suppress(OSError):
        kept = file.read_text().strip()
        if len(kept) >= _KEY_LENGTH:
            return kept
    key = secrets.token_urlsafe(_KEY_BYTES)
    # Whole or not at all, and never legible to others, not even for a moment.
    unfinished = folder / "secret_key.unfinished"
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as opened:
        opened.write(f"{key}\n")
    unfinished.replace(file)
    return key
