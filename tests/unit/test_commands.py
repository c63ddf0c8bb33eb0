"""The commands, run as processes: errors are reported as sentences, never as tracebacks."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from errno import EACCES
from pathlib import Path

import pytest

from promo_api import __version__
from promo_api.__main__ import main
from tests.pages import ROOT

BIN = Path(sys.executable).parent
PROGRAMS = {"python -m promo_api": [sys.executable, "-m", "promo_api"], "promo-api": [str(BIN / "promo-api")]}

REQUIRED = {"ANTIFRAUD_ADDRESS": "127.0.0.1:1", "SECRET_KEY": "a key for tests " * 3, "REDIS_PORT": "1"}
UNREACHABLE = {**REQUIRED, "POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "1"}
# SSLRequest of the protocol of PostgreSQL: the length of the message, and the code of the request.
_SSL_REQUEST = struct.pack("!II", 8, 80877103)
INVALID = {"POSTGRES_PORT": "many", "SERVER_WORKERS": "0", "SECRET_KEY": "hunter2"}


def _run(
    folder: Path, *arguments: str, program: Sequence[str] = (sys.executable, "-m", "promo_api"), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in an empty folder, with no other settings than these."""
    ended = subprocess.run(
        [*program, *arguments],
        cwd=folder,
        env={"PATH": f"{BIN}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in ended.stdout + ended.stderr, ended.stderr
    return ended


@pytest.mark.parametrize("command", ["serve", "migrate", "reset-password user a@b.example"])
def test_invalid_settings(tmp_path: Path, command: str) -> None:
    """A command reports all invalid settings and exits with 2."""
    ended = _run(tmp_path, *command.split(), **INVALID)
    assert (ended.returncode, ended.stdout) == (2, "")
    first, *problems = ended.stderr.splitlines()
    assert first == "Invalid settings:"
    assert [problem.split()[1] for problem in problems] == [
        "POSTGRES_PORT",
        "ANTIFRAUD_ADDRESS",
        "SERVER_WORKERS",
        "SECRET_KEY",
    ]
    assert all(problem.startswith("- ") for problem in problems)
    assert "hunter2" not in ended.stderr


def test_check_with_invalid_settings(tmp_path: Path) -> None:
    """With invalid settings `check` reports them and checks nothing else."""
    ended = _run(tmp_path, "check", **INVALID)
    assert (ended.returncode, ended.stderr) == (1, "")
    (line,) = ended.stdout.splitlines()
    assert line.startswith("FAIL  settings ")
    assert all(name in line for name in (*INVALID, "ANTIFRAUD_ADDRESS"))
    assert "hunter2" not in line


def test_check_without_servers(tmp_path: Path) -> None:
    """`check` prints one line for each thing, and reports each unavailable server."""
    ended = _run(tmp_path, "check", **UNREACHABLE)
    assert (ended.returncode, ended.stderr) == (1, "")
    findings = [line.split()[:2] for line in ended.stdout.splitlines()]
    assert findings == [
        ["ok", "settings"],
        ["ok", "passwords"],
        ["ok", "specification"],
        ["FAIL", "PostgreSQL"],
        ["FAIL", "schema"],
        ["FAIL", "cluster"],
        ["ok", "replicas"],
        ["FAIL", "Redis"],
        ["WARN", "clocks"],
        ["FAIL", "anti-fraud"],
        ["FAIL", "breakers"],
        ["ok", "mail"],
        ["FAIL", "webhooks"],
        ["FAIL", "counts"],
    ]


def test_migrate_without_postgresql(tmp_path: Path) -> None:
    """`migrate` reports in one sentence that nothing was changed, and why."""
    ended = _run(tmp_path, "migrate", **UNREACHABLE)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("The migrations could not be applied, and nothing was changed: ")
    assert "onnection refused" in line
    assert "sqlalche.me" not in line


_OF_OPERATORS = [["reset-password", "user"], ["close-account", "--yes", "company"]]


@pytest.mark.parametrize("command", _OF_OPERATORS, ids=" ".join)
def test_operator_command_without_postgresql(tmp_path: Path, command: list[str]) -> None:
    """A command of operators reports in one sentence that PostgreSQL is unavailable."""
    ended = _run(tmp_path, *command, "ann@example.com", **UNREACHABLE)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("The command failed, and can be run again: ")
    assert "onnection refused" in line
    assert "ann@example.com" not in line


@pytest.mark.parametrize("command", ["reset-password", "close-account"])
@pytest.mark.parametrize("arguments", [[], ["user"], ["admin", "ann@example.com"], ["user", "a", "b"]], ids=" ".join)
def test_operator_command_with_invalid_arguments(tmp_path: Path, command: str, arguments: list[str]) -> None:
    """A missing argument, an unknown kind and a further argument print the usage and exit with 2."""
    ended = _run(tmp_path, command, *arguments, **UNREACHABLE)
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage: python -m promo_api ")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["serve", "now"], ["--port", "80", "serve"]], ids=" ".join)
@pytest.mark.parametrize("program", PROGRAMS)
def test_unknown_command(tmp_path: Path, program: str, arguments: list[str]) -> None:
    """An unknown command or argument prints the usage with the name of the program, and exits with 2."""
    ended = _run(tmp_path, *arguments, program=PROGRAMS[program])
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"usage: {program} [-h] [--version] COMMAND")


@pytest.mark.parametrize("program", PROGRAMS)
def test_version(tmp_path: Path, program: str) -> None:
    """--version prints the version of the package."""
    ended = _run(tmp_path, "--version", program=PROGRAMS[program])
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"promo-api {__version__}\n", "")


def test_command_of_the_image(tmp_path: Path) -> None:
    """The command in the image works with the source in PYTHONPATH, from any folder."""
    ended = _run(tmp_path, "--version", program=[str(ROOT / "deploy" / "promo-api")], PYTHONPATH=str(ROOT))
    assert (ended.returncode, ended.stdout) == (0, f"promo-api {__version__}\n")


def test_dev_without_its_packages(tmp_path: Path) -> None:
    """Without the development packages, `dev` names the command that installs them."""
    (tmp_path / "psutil.py").write_text("raise ModuleNotFoundError(name='psutil')")
    ended = _run(tmp_path, "dev", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert ended.returncode == 1
    assert ended.stderr == "dev needs the package psutil of requirements-dev.lock: run make install.\n"


_COMMANDS = ("serve", "migrate", "check", "reset-password", "close-account", "dev", "antifraud-stub")


def test_help_names_every_command(tmp_path: Path) -> None:
    """The help names all commands."""
    ended = _run(tmp_path, "--help")
    assert ended.returncode == 0
    assert all(name in ended.stdout for name in _COMMANDS)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:x", "127.0.0.1:", ":"])
def test_antifraud_stub_with_an_invalid_address(tmp_path: Path, address: str) -> None:
    """An invalid address is reported with the expected form."""
    ended = _run(tmp_path, "antifraud-stub", address)
    assert ended.returncode == 2
    assert "host:port" in ended.stderr


def test_settings_in_a_file(tmp_path: Path) -> None:
    """Settings can be in `.env`; the environment takes precedence."""
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in UNREACHABLE.items()))
    assert _run(tmp_path, "check").stdout.startswith("ok    settings")
    assert "POSTGRES_PORT" in _run(tmp_path, "check", POSTGRES_PORT="many").stdout


def test_settings_file_with_another_encoding(tmp_path: Path) -> None:
    """A `.env` that is not UTF-8 is reported."""
    (tmp_path / ".env").write_bytes("SECRET_KEY=Schlüssel".encode("latin-1"))
    ended = _run(tmp_path, "check")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "Invalid settings:\n- .env is not written in UTF-8.\n"


def test_unreadable_settings_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A `.env` that the process may not read is reported."""

    def refuse(_path: str) -> dict[str, str]:
        raise PermissionError(EACCES, "Permission denied")

    monkeypatch.setattr("promo_api.__main__.dotenv_values", refuse)
    monkeypatch.setattr(sys, "argv", ["promo_api", "check"])
    assert main() == 2
    assert capsys.readouterr().err == "Invalid settings:\n- .env can't be read: Permission denied.\n"


def test_postgresql_without_tls(tmp_path: Path) -> None:
    """With PGSSLMODE=verify-full the service does not connect to a server without TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        address = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(listener.getsockname()[1])}
        with ThreadPoolExecutor(1) as thread:
            request = thread.submit(_refuse_tls, listener)
            line = _run(tmp_path, "check", **REQUIRED, **address, PGSSLMODE="verify-full").stdout.splitlines()[3]
            assert request.result() == _SSL_REQUEST
    assert line.startswith("FAIL  PostgreSQL")
    assert "server does not support SSL" in line


def _refuse_tls(listener: socket.socket) -> bytes:
    """Respond to the first connection as a PostgreSQL without TLS does, and return the request."""
    connection = listener.accept()[0]
    with connection:
        request = connection.recv(len(_SSL_REQUEST))
        connection.sendall(b"N")
        assert connection.recv(1) == b""
        return request


def test_empty_variable_does_not_hide_the_file(tmp_path: Path) -> None:
    """An empty variable counts as unset, so the value in `.env` is used."""
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in UNREACHABLE.items()))
    assert _run(tmp_path, "check", SECRET_KEY="").stdout.startswith("ok    settings")


def test_misspelt_setting(tmp_path: Path) -> None:
    """A misspelt setting is reported with the nearest name, without its value."""
    (tmp_path / ".env").write_text("LOG_LEVEL=hunter2\n")
    line = _run(tmp_path, "check", **UNREACHABLE, SERVER_WORKER="hunter2").stdout.splitlines()[0]
    assert line == (
        "WARN  settings       All are valid. SERVER_WORKER is not a setting. Did you mean SERVER_WORKERS? "
        "LOG_LEVEL is not a setting."
    )
    warnings = _run(tmp_path, "migrate", **UNREACHABLE, SERVER_WORKER="hunter2").stderr.splitlines()[:2]
    assert warnings == [
        "Warning: SERVER_WORKER is not a setting. Did you mean SERVER_WORKERS?",
        "Warning: LOG_LEVEL is not a setting.",
    ]


def test_misspelt_required_setting(tmp_path: Path) -> None:
    """If a required setting is missing, a misspelt name is reported with it."""
    ended = _run(tmp_path, "serve", SECRET_KEY=REQUIRED["SECRET_KEY"], ANTIFRAUD_ADRESS="hunter2")
    assert ended.returncode == 2
    assert "- ANTIFRAUD_ADRESS is not a setting. Did you mean ANTIFRAUD_ADDRESS?\n" in ended.stderr
    assert "hunter2" not in ended.stderr


def test_renamed_setting(tmp_path: Path) -> None:
    """`check` reports a deprecated name with the new one."""
    line = _run(tmp_path, "check", **UNREACHABLE, CHECK_ANSWERS="true").stdout.splitlines()[0]
    assert line == "WARN  settings       All are valid. CHECK_ANSWERS is now called VALIDATE_RESPONSES."
