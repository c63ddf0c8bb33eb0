"""`make install`: installs the packages of requirements-dev.lock in .venv.

It runs before any package is installed, so it imports only the standard library.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from os import environ
from pathlib import Path

_VENV = Path(".venv")
_PYTHON = _VENV / "bin" / "python"
_LOG = _VENV / "install.log"
# Written at the end. Without it, the next run empties the folder.
_STAMP = _VENV / "installed-from-lock"
_LOCK = Path("requirements-dev.lock")
# pip's own limits let an unresponsive network block for minutes. The user's environment takes precedence.
_PIP_DEFAULTS = {"PIP_DEFAULT_TIMEOUT": "10", "PIP_RETRIES": "2"}
_INTERRUPTED = 130
_RETRY = "Retrying (Retry("
_NETWORK_REASON = re.compile(
    r"\[Errno -?\d+\] ([\w ]+)|(timed out|certificate verify failed|\d{3} Proxy Authentication Required)"
)


class InstallError(Exception):
    """The message is for the user."""


def main() -> int:
    """Install the packages and return the exit status."""
    try:
        _install()
    except InstallError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Repeat the command to continue.\n")
        return _INTERRUPTED
    return 0


def _install() -> None:
    began_s = time.monotonic()
    _check_python()
    packages = len(re.findall(r"^[a-z0-9-]+==", _LOCK.read_text(encoding="utf-8"), re.MULTILINE))
    _print(
        f"Installing {packages} packages in {_VENV.resolve()}, with Python {sys.version.split()[0]}.\n"
        "This downloads 120 MB, and takes one to three minutes and 450 MB on disk. It happens only once."
    )
    _create_environment()
    _run_pip(["--require-hashes", "--requirement", str(_LOCK)], _Progress(packages).show)
    _run_pip(["--no-deps", "--no-build-isolation", "--editable", "."], lambda _line: None)
    _STAMP.touch()
    _print(f"Installed ({time.monotonic() - began_s:.0f} s).")


def _check_python() -> None:
    if find_spec("ensurepip") is None:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise InstallError(
            f"{sys.executable} cannot create virtual environments: its module ensurepip is missing. On Debian and"
            f" Ubuntu it is in the package {package}: run apt-get install {package}, then repeat the command."
        )


def _create_environment() -> None:
    """Create .venv, and replace it if it is incomplete or its Python has been removed."""
    options = [] if _STAMP.exists() and _PYTHON.exists() else ["--clear"]
    created = subprocess.run(  # noqa: S603 our own Python
        [sys.executable, "-m", "venv", *options, str(_VENV)], capture_output=True, text=True, check=False
    )
    if created.returncode:
        reason = (created.stdout + created.stderr).strip().rpartition("\n")[2]
        raise InstallError(f"{_VENV.resolve()} cannot be created: {reason}")


def _run_pip(arguments: Sequence[str], show: Callable[[str], None]) -> None:
    """Run `pip install`, and pass each line of its output to `show`."""
    command = [str(_PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments]
    lines: list[str] = []
    with (
        _LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(  # noqa: S603 our own Python
            command, env=_PIP_DEFAULTS | environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as pip,
    ):
        for line in pip.stdout or ():
            log.write(line)
            lines.append(line)
            show(line)
    if pip.returncode:
        raise InstallError(_explain(lines))


def _explain(lines: Sequence[str]) -> str:
    """Return the message for a failure of pip."""
    warnings = [line for line in lines if _RETRY in line]
    if warnings:
        match = _NETWORK_REASON.search(warnings[-1])
        reason = f" ({(match[1] or match[2]).lower()})" if match else ""
        return (
            f"The packages cannot be downloaded, because the package index does not respond{reason}. Check the network,"
            " set HTTPS_PROXY for a proxy or PIP_INDEX_URL for another index, then repeat the command."
        )
    errors = [line.strip() for line in lines if line.startswith("ERROR: ")] or ["pip failed"]
    return f"The packages cannot be installed: {errors[0].removeprefix('ERROR: ')} See {_LOG.resolve()}."


class _Progress:
    """Shows pip's progress on one line of a terminal, or every twentieth package elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._count = 0
        self._is_retrying = False

    def show(self, line: str) -> None:
        """Interpret a line of pip's output."""
        if line.startswith("Ignoring "):  # for other systems
            self._total -= 1
        elif line.startswith(("Collecting ", "Requirement already satisfied: ")):
            self._count += 1
            self._show_count()
        elif line.startswith("Installing collected packages: "):
            # From now on, an interruption leaves an incomplete environment.
            _STAMP.unlink(missing_ok=True)
            self._print("Unpacking ...")
        elif _RETRY in line and not self._is_retrying:
            self._is_retrying = True
            self._print("The package index does not respond. Trying again ...")

    def _show_count(self) -> None:
        if sys.stdout.isatty():
            _print(f"\r  {self._count} of {self._total} packages", end="")
        elif self._count % 20 == 0:
            _print(f"  {self._count} of {self._total} packages")

    def _print(self, text: str) -> None:
        """Start a new line, because the terminal may show a count."""
        _print(f"\n{text}" if sys.stdout.isatty() and self._count else text)


def _print(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
