"""Installations use the locked versions and verify checksums."""

import re

import pytest

from tests.unit.source import ROOT

LOCKS = sorted(file.name for file in ROOT.glob("requirements*.lock"))
INSTALLERS = ("Dockerfile", "docs/deployment.md")


@pytest.mark.parametrize("name", LOCKS)
def test_exact_versions_with_checksums(name: str) -> None:
    """Each package of a lock has one version and at least one SHA-256, and no URL."""
    lock = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    packages = [line for line in lock.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(packages) > 20
    wrong = [
        package
        for package in packages
        if not re.fullmatch(r"[\w.\[\],-]+==[\w.+!]+( ; [^#@]+?)?( +--hash=sha256:[0-9a-f]{64})+\s*", package)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", INSTALLERS)
def test_installations_verify_checksums(name: str) -> None:
    """Every command that installs packages verifies checksums or downloads nothing."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    installs = [line for line in text.splitlines() if re.search(r"\bpip\b[^&|;]* install ", line)]
    assert installs
    assert [line for line in installs if not {"--require-hashes", "--no-deps"} & {*line.split()}] == []


def test_make_install_verifies_checksums() -> None:
    """So does each call of pip in `make install`."""
    text = (ROOT / "promo_api" / "dev" / "install.py").read_text(encoding="utf-8")
    calls = re.findall(r"_run_pip\(\[(.*?)\]", text)
    assert len(calls) == 2
    assert all('"--require-hashes"' in call or '"--no-deps"' in call for call in calls)
