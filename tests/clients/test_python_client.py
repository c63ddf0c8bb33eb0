"""The Python client that openapi-python-client generates from api.yml."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from promo_api.app import SPECIFICATION
from tests.clients.outcome import assert_story_happened
from tests.e2e.server import Server
from tests.operations import OPERATIONS
from tests.pages import page

_CONFIG = Path(__file__).with_name("python_client.yml")
_TIMEOUT_S = 240
_STORY = Path(__file__).with_name("python")
_PACKAGE = "tests.clients.python"
_ROOT = SPECIFICATION.parent


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the generated package `promo_client`. A warning of the generator is an error."""
    folder = tmp_path_factory.mktemp("python_client")
    [script] = re.findall(r"^sed '(.*)' api.yml > client.yml$", page("docs/api.md"), re.MULTILINE)
    content = subprocess.run(
        ["/usr/bin/env", "sed", script, SPECIFICATION], capture_output=True, check=True, timeout=_TIMEOUT_S
    ).stdout
    (folder / "client.yml").write_bytes(content)
    done = _python(
        "-m", "openapi_python_client", "generate", "--path", "client.yml", "--meta", "none",
        "--config", str(_CONFIG), "--output-path", "promo_client", "--fail-on-warning", folder=folder,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "arning" not in done.stdout
    return folder


def test_each_operation_is_generated(generated: Path) -> None:
    """The client has a module for each operation, and the story imports all of them."""
    modules = {path.stem for path in (generated / "promo_client/api").rglob("*.py")} - {"__init__"}
    wanted = {each.id.replace(".", "_") for each in OPERATIONS}
    assert modules == wanted
    story = "".join(file.read_text(encoding="utf-8") for file in _STORY.glob("*.py"))
    assert wanted <= set(re.findall(r"\w+", story))


def test_client_compiles(generated: Path) -> None:
    """The client compiles without warnings."""
    done = _python("-W", "error", "-m", "compileall", "-q", "promo_client", folder=generated)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_types(generated: Path) -> None:
    """The client and the story pass mypy in strict mode."""
    done = _python(
        "-m", "mypy", "--config-file", os.devnull, "--strict", "--warn-unreachable", "--cache-dir", "cache",
        "-p", "promo_client", "-p", _PACKAGE, folder=generated,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_story_happens(generated: Path, server: Server) -> None:
    """The client can call every operation of a server, and parses responses and errors."""
    done = _python("-W", "error", "-m", f"{_PACKAGE}.story", f"{server.url}/api", folder=generated)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert_story_happened(server, done.stdout)


def _python(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run Python with the packages in the folder and those of the project."""
    path = f"{folder}{os.pathsep}{_ROOT}"
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "PYTHONPATH": path, "MYPYPATH": path},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
