"""The tests that are skipped with PgBouncer exist."""

import subprocess
import sys
from pathlib import Path

from tests.pgbouncer import LEFT_OUT

_ROOT = Path(__file__).parents[2]


def test_skipped_tests_exist() -> None:
    """Each entry of LEFT_OUT matches exactly one collected test: a renamed test must not run through PgBouncer."""
    files = {end.partition("::")[0] for end in LEFT_OUT}
    paths = [str(path) for file in sorted(files) for path in (_ROOT / "tests" / "integration").rglob(file)]
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *paths],
        cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    names = collected.stdout.splitlines()
    assert {end: sum(name.endswith(end) for name in names) for end in LEFT_OUT} == dict.fromkeys(LEFT_OUT, 1)
