"""The pages describe what the program does."""

import re
from dataclasses import fields

import pytest
import yaml

from promo_api.__main__ import _COMMANDS
from promo_api.config.settings import Settings, SettingsError, variable
from tests import error_page, settings_table
from tests.operations import OPERATIONS
from tests.pages import PAGES, ROOT, anchors, code, page, tables

_API = (ROOT / "api.yml").read_text(encoding="utf-8")
_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
_SETTINGS = {variable(declared) for declared in fields(Settings)}
_RENAMED = {old: variable(declared) for declared in fields(Settings) if (old := declared.metadata["formerly"])}
# Environment variables that are not settings of the service.
_OTHER_VARIABLES = {"LOG_LEVEL", "POSTGRES_USER", "REDIS_SERVICE_HOST"}
_README_WORDS_MAX = 1000


def test_settings_are_listed() -> None:
    """docs/configuration.md has a row for each setting: `python -m tests.settings_table` updates it."""
    assert settings_table.listed() == settings_table.rows()


def test_error_codes_are_listed() -> None:
    """docs/errors.md is made from api.yml: `python -m tests.error_page` updates it."""
    assert page(error_page.PAGE) == error_page.rendered()


def test_endpoints_are_listed() -> None:
    """docs/api.md lists each operation of api.yml with its path, account, scope for keys and summary."""
    expected = [
        [
            f"{operation.method} {operation.path}",
            operation.id,
            (operation.account or "-") + (f" or key (`{operation.key_scope}`)" if operation.key_scope else ""),
            operation.declared["summary"],
        ]
        for operation in OPERATIONS
    ]
    assert tables("docs/api.md", "Request") == expected


def test_readme_is_short() -> None:
    """The README has at most 1,000 words."""
    assert len(page("README.md").split()) <= _README_WORDS_MAX


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_shell_blocks_have_no_comments(name: str) -> None:
    """A block can be pasted into zsh, which by default passes comments to the command."""
    blocks = re.findall(r"^```sh.*?\n(.*?)^```", page(name), re.MULTILINE | re.DOTALL)
    assert [line for block in blocks for line in block.splitlines() if re.search(r"(^|\s)#", line)] == []


def test_example_names_settings() -> None:
    """.env.example contains only settings, and is complete except for the secret that must not be copied."""
    example = dict(line.split("=", 1) for line in _EXAMPLE.splitlines() if line and not line.startswith("#"))
    assert example.keys() <= _SETTINGS
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(example)
    assert [problem.split()[0] for problem in caught.value.problems] == ["SECRET_KEY"]


@pytest.mark.parametrize("name", [name for name in PAGES if name != "CHANGELOG.md"])
def test_pages_name_settings(name: str) -> None:
    """A word in capitals that begins like a setting is a setting."""
    prefixes = {setting.partition("_")[0] for setting in _SETTINGS}
    words = set(re.findall(r"(?<![\w$])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", page(name)))
    named = {word for word in words if word.partition("_")[0] in prefixes}
    assert named - _SETTINGS - _RENAMED.keys() - _OTHER_VARIABLES == set()


def test_deprecated_names_are_listed() -> None:
    """docs/configuration.md lists each deprecated name of a setting with the new name."""
    assert tables("docs/configuration.md", "Old name") == [[old, new] for old, new in _RENAMED.items()]


@pytest.mark.parametrize("name", PAGES)
def test_links_resolve(name: str) -> None:
    """Each relative link of a page leads to a file, and its anchor to a heading of that file."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", page(name), flags=re.MULTILINE | re.DOTALL)
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", prose):
        target = ((ROOT / name).parent / file).resolve() if file else ROOT / name
        assert target.exists(), f"{name} links {file}, which does not exist"
        assert not anchor or anchor in anchors(str(target.relative_to(ROOT))), f"{name} links {file}#{anchor}"


def test_pages_are_linked() -> None:
    """The README links each page, and the index of the decisions links each decision."""
    decisions = {name.rpartition("/")[2] for name in PAGES if re.search(r"/\d{4}-[^/]*$", name)}
    readme, index = page("README.md"), page("docs/decisions/README.md")
    assert [name for name in decisions if f"]({name})" not in index] == []
    others = [name for name in PAGES if name.rpartition("/")[2] not in decisions and name != "README.md"]
    assert [name for name in others if f"]({name}" not in readme] == []


def test_migrations_are_listed() -> None:
    """The deployment page says of each migration whether old processes can run meanwhile."""
    listed = {number for row in tables("docs/deployment.md", "Migration") for number in re.findall(r"\d{4}", row[0])}
    assert listed == set(_revisions())


def test_commands_are_listed() -> None:
    """The deployment page lists each command."""
    listed = {row[0].strip("`").split()[3] for row in tables("docs/deployment.md", "Command")}
    assert listed == set(_COMMANDS)


def test_make_targets_are_listed() -> None:
    """CONTRIBUTING.md lists each target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    [targets] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    listed = {name for row in tables("CONTRIBUTING.md", "Target") for name in re.findall(r"`([a-z0-9-]+)`", row[0])}
    assert set(targets.split()) <= listed


def test_files_exist() -> None:
    """Each file and directory that CONTRIBUTING.md names exists, except those of its example."""
    words = re.findall(r"`((?:handlers|persistence|promo_api|tests|deploy|docs)/[\w./*-]*)`", page("CONTRIBUTING.md"))
    named = {word for word in words if not re.search(r"test_review|NNNN|_reviewed_", word)}
    assert [word for word in named if not (ROOT / word).exists() and not (ROOT / f"{word}.py").exists()] == []


def test_pre_commit_runs_the_lint_commands() -> None:
    """Each hook of pre-commit runs a command of the Makefile."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    commands = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin")
    assert [hook["entry"] for hook in hooks if f"\t{hook['entry']}\n" not in commands] == []


def test_vendor_extensions_are_listed() -> None:
    """The contract layer page lists the vendor extensions that api.yml uses; x-bearerInfoFunc is Connexion's."""
    used = set(re.findall(r"^ *(x-[A-Za-z-]+):", _API, re.MULTILINE)) - {"x-bearerInfoFunc"}
    assert {row[0].strip("`") for row in tables("docs/contract-layer.md", "Extension")} == used


def test_examples_show_the_newest_schema() -> None:
    """The examples of GET /api/health, in api.yml and in the pages, show the newest revision."""
    shown = re.findall(
        r"""["']?(?:needed|found|example)["']?: ["'](\d{4})["']""", _API + code("docs/operations.md", "json health")
    )
    assert len(shown) >= 6
    assert set(shown) == {max(_revisions())}


def _revisions() -> list[str]:
    return [file.name[:4] for file in (ROOT / "persistence/migrations/versions").glob("[0-9]*.py")]
