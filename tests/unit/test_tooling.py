"""The Makefile, the pre-commit hooks and the editor settings agree with each other and with the folders of tests."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pages import page
from tests.unit.source import ROOT

_MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
_LEVELS = ("UNIT", "INTEGRATION", "CONTRACT", "RACE", "E2E")


def _recipe(target: str) -> list[str]:
    """Return the commands of a target."""
    match = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", _MAKEFILE, re.MULTILINE)
    assert match is not None, target
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in match[1].splitlines()]


def test_pre_commit_runs_what_make_lint_runs() -> None:
    """The hooks are the commands of `make lint`, in order. They are local, and need no network."""
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert [hook["entry"] for hook in hooks] == _recipe("lint")
    assert all(hook["language"] == "system" and hook["always_run"] and not hook["pass_filenames"] for hook in hooks)


def test_levels_cover_all_tests() -> None:
    """Each folder with tests belongs to one of the targets unit, integration, contract, race, e2e and test-citus."""
    listed = [folder for level in (*_LEVELS, "CITUS") for folder in _variable(level).split()]
    folders = {f"tests/{file.relative_to(ROOT / 'tests').parts[0]}" for file in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(listed) == sorted(folders)
    for level in _LEVELS:
        assert _recipe(level.lower()) == [f"$(PYTEST) $({level})"]


def _variable(name: str) -> str:
    match = re.search(rf"^{name} := (.*)$", _MAKEFILE, re.MULTILINE)
    assert match is not None, name
    return match[1]


def test_help_lists_every_target() -> None:
    """`make help` has a line for each target."""
    targets = set(re.findall(r"^([a-z0-9-]+):", _MAKEFILE, re.MULTILINE))
    shown = {name for line in _recipe("help") for name in re.findall(r'echo "(?:make|\s) ?([a-z0-9-]+)', line)}
    assert shown == targets - {"help"}


def test_all_targets_are_phony() -> None:
    """No file with the name of a target keeps make from running it."""
    targets = set(re.findall(r"^([a-z0-9-]+):", _MAKEFILE, re.MULTILINE))
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", _MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].replace("\\\n", " ").split()) == targets


def test_editors_use_the_line_length_of_ruff() -> None:
    """The line length in .editorconfig is that of ruff."""
    editor = configparser.ConfigParser()
    editor.read_string("[top]\n" + (ROOT / ".editorconfig").read_text(encoding="utf-8"))
    ruff = re.search(r"^line-length = ([0-9]+)$", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert ruff is not None
    assert editor["*.{py,cfg,toml}"]["max_line_length"] == ruff[1]


def _supported_versions() -> list[str]:
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    match = re.search(r"^python_requires = >=3\.(\d+), <3\.(\d+)$", setup, re.MULTILINE)
    assert match is not None
    return [f"3.{minor}" for minor in range(int(match[1]), int(match[2]))]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/deployment.md", "Makefile"])
def test_supported_versions_are_listed(name: str) -> None:
    """The pages and the Makefile name the versions of Python in setup.cfg."""
    *others, newest = _supported_versions()
    text = _MAKEFILE if name == "Makefile" else page(name)
    assert f"Python {', '.join(others)} or {newest}" in " ".join(text.split())


def _make_install(folder: Path, python: str) -> "subprocess.CompletedProcess[str]":
    """Run `make install` in a folder where nothing is installed."""
    for name in ("requirements-dev.lock", "setup.cfg"):
        (folder / name).touch()
    command = ["make", "-f", str(ROOT / "Makefile"), "install", f"PYTHON={python}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("version", ["2.7", "3.10", "3.15"])
def test_other_versions_are_refused(tmp_path: Path, version: str) -> None:
    """`make` refuses another version of Python by name, before it installs anything."""
    python = tmp_path / "python"
    code = f"import sys; sys.version_info = ({version.replace('.', ', ')}, 0, 'final', 0); exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$2"\n')
    python.chmod(0o755)
    made = _make_install(tmp_path, str(python))
    assert made.returncode == 2
    assert made.stderr.startswith(f"Python {version} is not supported. Install Python ")
    assert not (tmp_path / ".venv").exists()


def test_missing_python(tmp_path: Path) -> None:
    """If the command does not exist, `make` names the versions to install."""
    made = _make_install(tmp_path, "no-python-here")
    assert made.stderr.startswith("There is no command no-python-here. Install Python ")


def test_makefile_accepts_the_supported_versions() -> None:
    """The versions that the Makefile accepts are those of setup.cfg."""
    bounds = re.search(r"\(3, (\d+)\) <= sys.version_info\[:2\] <= \(3, (\d+)\)", _MAKEFILE)
    assert bounds is not None
    assert [f"3.{bounds[1]}", f"3.{bounds[2]}"] == [_supported_versions()[0], _supported_versions()[-1]]
