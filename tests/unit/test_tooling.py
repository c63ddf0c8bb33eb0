"""The Makefile, the pre-commit hooks and the editor settings agree with each other and with the folders of tests."""

import configparser
import re

import yaml

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
    """Each folder with tests belongs to exactly one of the targets unit, integration, contract, race and e2e."""
    listed = [folder for level in _LEVELS for folder in _variable(level).split()]
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
