"""The TypeScript client: openapi-fetch with the types that openapi-typescript generates from api.yml."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from promo_api.app import SPECIFICATION
from tests.clients.outcome import assert_story_happened
from tests.e2e.server import Server
from tests.npm import assert_locked, install, run_npm
from tests.operations import OPERATIONS

_PROJECT = Path(__file__).with_name("typescript")
_FILES = ("story.ts", "tsconfig.json")
_OLDEST_NODE = 20


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with its packages and api.yml."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("The TypeScript client is not tested: node is not installed.")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    if int(version.strip().lstrip("v").partition(".")[0]) < _OLDEST_NODE:
        pytest.skip(f"The TypeScript client is not tested: it needs node {_OLDEST_NODE}, not {version.strip()}.")
    folder = tmp_path_factory.mktemp("typescript_client")
    for path in (*(_PROJECT / name for name in _FILES), SPECIFICATION):
        shutil.copy(path, folder)
    install(_PROJECT, folder)
    return folder


@pytest.fixture(scope="module")
def compiled(installed: Path) -> Path:
    """The same folder with the generated types and the compiled story."""
    done = run_npm(installed, "run", "generate")
    assert done.returncode == 0, done.stderr
    assert "arning" not in done.stdout + done.stderr
    done = run_npm(installed, "run", "compile")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    return installed


def test_lock_file() -> None:
    """The lock file has exactly the packages of package.json, with checksums."""
    assert_locked(_PROJECT)


def test_each_operation_is_generated_and_called(compiled: Path) -> None:
    """The types contain every operation, and the story calls all of them."""
    types = (compiled / "contract.d.ts").read_text(encoding="utf-8")
    assert {each.id for each in OPERATIONS if f'operations["{each.id}"]' not in types} == set()
    called = set(re.findall(r'\.(?:GET|POST|PUT|PATCH|DELETE)\("[^"]+"', (compiled / "story.ts").read_text("utf-8")))
    assert len(called) == len(OPERATIONS)


def test_story_happens(compiled: Path, server: Server) -> None:
    """The client can call every operation of a server, and parses responses and errors."""
    done = run_npm(compiled, "run", "story", "--", f"{server.url}/api")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert_story_happened(server, done.stdout)
