"""The tests that are skipped on Citus exist, and make test-citus fails without a cluster."""

import subprocess
import sys
from pathlib import Path

from tests.citus_databases import LEFT_OUT

_ROOT = Path(__file__).parents[2]


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=_ROOT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_skipped_tests_exist() -> None:
    """Each entry of LEFT_OUT matches a collected test: a renamed test must not run on Citus."""
    names = _run("pytest", "--collect-only", "-q", "tests/integration", "tests/race").stdout.splitlines()
    assert [part for part in LEFT_OUT if not any(part in name for name in names)] == []


def test_no_cluster() -> None:
    """Without a cluster a sentence says what is missing."""
    check = _run("tests.citus_databases")
    assert (check.returncode, check.stderr.splitlines()[0].startswith("CITUS_HOST is not set. ")) == (1, True)
