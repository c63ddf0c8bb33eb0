"""npm, for the tests that use packages of JavaScript. A project has package.json, package-lock.json and .npmrc."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

_FILES = (".npmrc", "package.json", "package-lock.json")
_RETRIES = ("--fetch-retries=2", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=5000")
# Error codes of npm if no registry is reachable.
_OFFLINE = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT)\b")


def install(project: Path, folder: Path) -> None:
    """Install the locked packages of a project into a folder. Skip the test without npm or a registry."""
    if shutil.which("npm") is None:
        pytest.skip(f"npm is not installed, so the packages of {project.name} are not either.")
    for name in _FILES:
        shutil.copy(project / name, folder)
    done = run_npm(folder, "ci", "--prefer-offline", *_RETRIES)
    if done.returncode != 0 and _OFFLINE.search(done.stderr):
        pytest.skip(f"No npm registry is reachable, so the packages of {project.name} are not installed.")
    assert done.returncode == 0, done.stderr


def run_npm(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of npm in a folder."""
    npm = shutil.which("npm")
    assert npm is not None
    return subprocess.run(
        [npm, "--silent" if arguments[0] == "run" else "--loglevel=error", *arguments], cwd=folder,
        env={**os.environ, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip


def assert_locked(project: Path) -> None:
    """Assert that the lock file matches package.json, and has checksums and exact versions, but no registry."""
    written = json.loads((project / "package.json").read_text(encoding="utf-8"))
    packages = json.loads((project / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    kinds = ("dependencies", "devDependencies")
    declared = {kind: written[kind] for kind in kinds if kind in written}
    assert {kind: packages[""][kind] for kind in kinds if kind in packages[""]} == declared
    versions = [version for names in declared.values() for version in names.values()]
    assert versions
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
    others = [package for name, package in packages.items() if name]
    assert others
    assert all(package["integrity"].startswith("sha512-") and "resolved" not in package for package in others)
