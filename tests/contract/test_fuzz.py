"""Property-based tests: schemathesis against the running service, all checks, all phases, as any user would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.server import Server

_ROOT = Path(__file__).parents[2]
# Enough for every phase in a minute. `make fuzz` sets more of both, and shows the progress.
_EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "5")
_SEEDS = os.environ.get("FUZZ_SEEDS", "1").split(",")
_PHASES = {"Examples", "Coverage", "Fuzzing", "Stateful"}


def _fuzz(url: str, seed: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(_ROOT / "schemathesis.toml")]
    arguments = ["run", url, "--max-examples", _EXAMPLES, "--seed", seed, "--no-color"]
    told = []
    with subprocess.Popen(
        [*command, *arguments], cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            sys.stdout.write(line)
            told.append(line)
    return run.returncode, "".join(told)


@pytest.mark.parametrize("seed", _SEEDS)
def test_service_keeps_its_contract(server: Server, seed: str) -> None:
    """No request that schemathesis thinks of gets an answer that api.yml does not describe."""
    status, told = _fuzz(f"{server.url}/api/openapi.json", seed)
    assert status == 0
    assert "Tested: 30" in told
    assert set(re.findall(r"✅ (\w+)$", told, re.MULTILINE)) == _PHASES
