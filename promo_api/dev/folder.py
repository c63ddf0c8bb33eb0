"""The data folder of `dev`: its lock and its secret key."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from promo_api.dev.embedded import DevError

_KEY_BYTES = 48
_KEY_LENGTH = 64  # in base64


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Create and lock the folder. Raise DevError if it is in use or unusable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise DevError(f"The folder {folder} cannot be used: {(error.strerror or str(error)).lower()}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read() or "unknown"
            raise DevError(f"Another dev (process {owner}) uses the folder {folder}. Stop it first.") from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def find_or_create_secret_key(folder: Path) -> str:
    """Return the stored key, or store a new one."""
    file = folder / "secret_key"
    with suppress(OSError):
        stored = file.read_text().strip()
        if len(stored) >= _KEY_LENGTH:
            return stored
    key = secrets.token_urlsafe(_KEY_BYTES)
    # Never incomplete, and only its owner can ever read it.
    unfinished = folder / "secret_key.unfinished"
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as opened:
        opened.write(f"{key}\n")
    unfinished.replace(file)
    return key
