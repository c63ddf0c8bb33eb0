"""The TypeScript client: openapi-fetch with the types that openapi-typescript generates from api.yml."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from promo_api.app import SPECIFICATION
from tests.clients.outcome import assert_story_happened
from tests.e2e.server import Server
from tests.operations import OPERATIONS

_PROJECT = Path(__file__).with_name("typescript")
_FILES = (".npmrc", "package.json", "package-lock.json", "story.ts", "tsconfig.json")
_OLDEST_NODE = 20
# Error codes of npm if no registry is reachable.
_OFFLINE = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT)\b")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with its packages and api.yml."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("The TypeScript client is not tested: node or npm is not installed.")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    if int(version.strip().lstrip("v").partition(".")[0]) < _OLDEST_NODE:
        pytest.skip(f"The TypeScript client is not tested: it needs node {_OLDEST_NODE}, not {version.strip()}.")
    folder = tmp_path_factory.mktemp("typescript_client")
    for name in _FILES:
        shutil.copy(_PROJECT / name, folder)
    shutil.copy(SPECIFICATION, folder)
    retries = ("--fetch-retries=2", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=5000")
    done = _npm(folder, "ci", "--prefer-offline", *retries)
    if done.returncode != 0 and _OFFLINE.search(done.stderr):
        pytest.skip("The TypeScript client is not tested: no npm registry is reachable.")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def compiled(installed: Path) -> Path:
    """The same folder with the generated types and the compiled story."""
    done = _npm(installed, "run", "generate")
    assert done.returncode == 0, done.stderr
    assert "arning" not in done.stdout + done.stderr
    done = _npm(installed, "run", "compile")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    return installed


def test_lock_file() -> None:
    """The lock file matches package.json, and has checksums and exact versions, but no registry."""
    project = json.loads((_PROJECT / "package.json").read_text(encoding="utf-8"))
    packages = json.loads((_PROJECT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    declared = {kind: project[kind] for kind in ("dependencies", "devDependencies")}
    assert {kind: packages[""][kind] for kind in declared} == declared
    versions = [version for packages in declared.values() for version in packages.values()]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
    others = [package for name, package in packages.items() if name]
    assert others
    assert all(package["integrity"].startswith("sha512-") and "resolved" not in package for package in others)


def test_each_operation_is_generated_and_called(compiled: Path) -> None:
    """The types contain every operation, and the story calls all of them."""
    types = (compiled / "contract.d.ts").read_text(encoding="utf-8")
    assert {each.id for each in OPERATIONS if f'operations["{each.id}"]' not in types} == set()
    called = set(re.findall(r'\.(?:GET|POST|PUT|PATCH|DELETE)\("[^"]+"', (compiled / "story.ts").read_text("utf-8")))
    assert len(called) == len(OPERATIONS)


def test_story_happens(compiled: Path, server: Server) -> None:
    """The client can call every operation of a server, and parses responses and errors."""
    done = _npm(compiled, "run", "story", "--", f"{server.url}/api")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert_story_happened(server, done.stdout)


def _npm(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    npm = shutil.which("npm")
    assert npm is not None
    return subprocess.run(
        [npm, "--silent" if arguments[0] == "run" else "--loglevel=error", *arguments], cwd=folder,
        env={**os.environ, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
