"""The systemd units in deploy/systemd."""

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from promo_api.config.settings import Settings
from tests.pages import ROOT

_UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
_SERVICES = [file for file in _UNITS if file.suffix == ".service"]
_INSTALLED = "/srv/promo"
# Of systemd-analyze, in tenths: 0 is safest. It calls less than 5 "OK".
_MAX_EXPOSURE = 30


def _unit(file: Path) -> ConfigParser:
    # Not strict: an option may occur several times.
    parser = ConfigParser(strict=False, interpolation=None, comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(file.read_text(encoding="utf-8"))
    return parser


@pytest.fixture
def analyze() -> str:
    """The path of systemd-analyze."""
    path = shutil.which("systemd-analyze")
    if path is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    return path


def _assert_succeeds(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_units_are_valid(analyze: str, tmp_path: Path) -> None:
    """Each unit is valid for systemd."""
    root = tmp_path / "promo"
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to("/bin/true")
    shutil.copytree(ROOT / "deploy", root / "deploy")
    for file in _UNITS:
        text = file.read_text(encoding="utf-8").replace(_INSTALLED, str(root))
        (tmp_path / file.name).write_text(text, encoding="utf-8")
    _assert_succeeds(analyze, "verify", *(str(tmp_path / file.name) for file in _UNITS))


@pytest.mark.parametrize("file", _SERVICES, ids=lambda file: file.name)
def test_rights(analyze: str, file: Path) -> None:
    """The rights of each service are limited."""
    _assert_succeeds(analyze, "security", "--offline=true", f"--threshold={_MAX_EXPOSURE}", "--no-pager", str(file))


@pytest.mark.parametrize("file", _SERVICES, ids=lambda file: file.name)
def test_services_are_confined(file: Path) -> None:
    """No service runs as root, gains privileges or writes elsewhere; this needs no systemd."""
    service = _unit(file)["Service"]
    assert service["User"] in ("promo", "postgres")
    assert (service["NoNewPrivileges"], service["ProtectSystem"], service["PrivateTmp"]) == ("true", "strict", "true")
    assert service["CapabilityBoundingSet"] == ""


def test_commands_exist() -> None:
    """Each service runs an executable of the repository, or the interpreter of its .venv."""
    commands = [_unit(file)["Service"]["ExecStart"].split()[0] for file in _SERVICES]
    own = [command.removeprefix(f"{_INSTALLED}/") for command in commands if "/.venv/" not in command]
    assert sorted(own) == ["deploy/backup.sh", "deploy/restore_drill.sh"]
    assert all((ROOT / command).stat().st_mode & 0o111 == 0o111 for command in own)


def test_timers_have_a_service() -> None:
    """Each timer starts a service, and runs later if the machine was off."""
    timers = [file for file in _UNITS if file.suffix == ".timer"]
    assert [file.stem for file in timers] == ["promo-backup", "promo-restore-drill"]
    for file in timers:
        assert file.with_suffix(".service") in _SERVICES
        assert _unit(file)["Timer"]["Persistent"] == "true"


def test_drill_finds_the_backups() -> None:
    """The drill reads the folder of the backups, which systemd creates for the user of both."""
    backup, drill = (
        _unit(ROOT / f"deploy/systemd/{name}.service")["Service"] for name in ("promo-backup", "promo-restore-drill")
    )
    assert backup["ExecStart"].split()[1] == drill["ExecStart"].split()[1] == f"/var/lib/{backup['StateDirectory']}"
    assert backup["User"] == drill["User"]


def test_stop_timeout() -> None:
    """TimeoutStopSec exceeds the stop timeout of the service by ten seconds."""
    timeout = int(_unit(ROOT / "deploy/systemd/promo.service")["Service"]["TimeoutStopSec"])
    assert timeout == Settings.server_drain_s + Settings.server_stop_timeout_s + 10


def test_socket() -> None:
    """The socket listens on the address that docs/deployment.md gives the service."""
    [address] = re.findall(r"^\| SERVER_ADDRESS \| `([^`]+)`", (ROOT / "docs/deployment.md").read_text(), re.MULTILINE)
    assert _unit(ROOT / "deploy/systemd/promo.socket")["Socket"]["ListenStream"] == address
