"""`make install`, on a project with one small package, without a package index or with one that does not respond."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from promo_api.dev import install
from tests.integration.dev.conftest import ROOT

# Builds the editable installation of the project without setuptools.
_BACKEND = """
from pathlib import Path
from zipfile import ZipFile

def build_editable(folder, config_settings=None, metadata_directory=None):
    with ZipFile(Path(folder, "project-1-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("project-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: project\\nVersion: 1\\n")
        wheel.writestr("project-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("project-1.dist-info/RECORD", "")
    return "project-1-py3-none-any.whl"
"""
_PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


_MESSAGE = "The packages cannot be downloaded, because the package index does not respond ({}). Check the network,"


def _lock(name: str, digest: str) -> str:
    return f"{name}==1 \\\n    --hash=sha256:{digest}\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose lock file names one package, which is in the folder `wheels`."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(_PYPROJECT)
    (folder / "backend.py").write_text(_BACKEND)
    (folder / "wheels").mkdir()
    wheel = folder / "wheels" / "tiny-1-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        archive.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.dist-info/RECORD", "")
    (folder / "requirements-dev.lock").write_text(_lock("tiny", sha256(wheel.read_bytes()).hexdigest()))
    return folder


def _start(project: Path, **variables: str) -> "subprocess.Popen[str]":
    """Start the command, without the settings of pip and the proxies of this machine."""
    around = {
        name: value for name, value in os.environ.items() if not re.match("pip_|https?_proxy", name, re.IGNORECASE)
    }
    return subprocess.Popen(
        [sys.executable, "-m", "promo_api.dev.install"], cwd=project, text=True, start_new_session=True,
        env=around | {"PYTHONPATH": str(ROOT), "PIP_CONFIG_FILE": os.devnull} | variables,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _run(project: Path, **variables: str) -> tuple[int, str, str]:
    process = _start(project, **variables)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def installed(project: Path) -> tuple[Path, str]:
    """The project after the first run, which found an incomplete .venv, and the output of that run."""
    (project / ".venv").mkdir()
    (project / ".venv" / "incomplete").touch()
    status, out, err = _run(project, PIP_NO_INDEX="1", PIP_FIND_LINKS="wheels")
    assert (status, err) == (0, "")
    return project, out


def test_installation(installed: tuple[Path, str]) -> None:
    """It reports the packages, the folder and the duration. An incomplete environment is replaced."""
    project, out = installed
    version = sys.version.split()[0]
    assert out.startswith(f"Installing 1 packages in {project / '.venv'}, with Python {version}.\nThis downloads ")
    assert re.search(r"^Installed \(\d+ s\)\.$", out, re.MULTILINE)
    assert (project / ".venv" / "installed-from-lock").exists()
    assert not (project / ".venv" / "incomplete").exists()
    subprocess.run([project / ".venv" / "bin" / "python", "-c", "import tiny"], check=True)


def test_update(installed: tuple[Path, str]) -> None:
    """A complete environment is updated, not replaced."""
    project = installed[0]
    (project / ".venv" / "complete").touch()
    assert _run(project, PIP_NO_INDEX="1", PIP_FIND_LINKS="wheels")[0] == 0
    assert (project / ".venv" / "complete").exists()


@pytest.fixture
def outdated(installed: tuple[Path, str]) -> Iterator[Path]:
    """The project with a lock file that names a package which is not installed."""
    lock = installed[0] / "requirements-dev.lock"
    before = lock.read_text()
    lock.write_text(_lock("other", "0" * 64))
    yield installed[0]
    lock.write_text(before)


@contextmanager
def _unresponsive_index() -> Iterator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"https://127.0.0.1:{listener.getsockname()[1]}/simple"


def test_index_refuses_connections(outdated: Path) -> None:
    """Without a package index, one sentence says what to do. The installed packages stay usable."""
    status, out, err = _run(outdated, PIP_INDEX_URL="https://127.0.0.1:1/simple")
    assert status == 1
    assert out.endswith("The package index does not respond. Trying again ...\n")
    assert err.startswith(_MESSAGE.format("connection refused"))
    assert err.count("\n") == 1
    assert (outdated / ".venv" / "installed-from-lock").exists()


def test_index_does_not_respond(outdated: Path) -> None:
    """An index that accepts connections and does not respond is reported after the time limit."""
    with _unresponsive_index() as (_, url):
        status, _, err = _run(outdated, PIP_INDEX_URL=url, PIP_DEFAULT_TIMEOUT="0.5")
    assert status == 1
    assert err.startswith(_MESSAGE.format("timed out"))
    assert err.count("\n") == 1


def test_interruption(outdated: Path) -> None:
    """Ctrl-C gives a line of text."""
    with _unresponsive_index() as (listener, url):
        process = _start(outdated, PIP_INDEX_URL=url)
        listener.settimeout(60)
        with listener.accept()[0]:
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "\nInterrupted. Repeat the command to continue.\n")


def test_missing_package(outdated: Path) -> None:
    """Any other failure shows the first error of pip and names the file with all its output."""
    status, _, err = _run(outdated, PIP_NO_INDEX="1", PIP_FIND_LINKS="wheels")
    assert status == 1
    log = outdated / ".venv" / "install.log"
    assert err.startswith("The packages cannot be installed: Could not find a version that satisfies ")
    assert err.endswith(f" See {log}.\n")
    assert "ERROR: " in log.read_text()


def test_unusable_folder(tmp_path: Path) -> None:
    """If .venv cannot be created, one line says why."""
    (tmp_path / ".venv").write_text("")
    (tmp_path / "requirements-dev.lock").write_text("")
    status, _, err = _run(tmp_path)
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith(f"{tmp_path / '.venv'} cannot be created: ")


def test_python_without_ensurepip(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a Debian without it, the package python3.X-venv is named."""
    monkeypatch.setattr(install, "find_spec", lambda _name: None)
    assert install.main() == 1
    error = capsys.readouterr().err
    assert f"apt-get install python3.{sys.version_info.minor}-venv" in error
    assert error.count("\n") == 1
