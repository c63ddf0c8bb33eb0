"""Property-based tests: schemathesis with all checks and phases against the running service."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.server import Server
from tests.operations import OPERATIONS

_ROOT = Path(__file__).parents[2]
# Every phase in a minute. `make fuzz` sets more examples and seeds, and shows the progress.
_EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "2")
_SEEDS = os.environ.get("FUZZ_SEEDS", "1").split(",")
_PHASES = {"Examples", "Coverage", "Fuzzing", "Stateful"}


def _fuzz(url: str, seed: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(_ROOT / "schemathesis.toml")]
    arguments = ["run", url, "--max-examples", _EXAMPLES, "--seed", seed, "--no-color"]
    output = []
    with subprocess.Popen(
        [*command, *arguments], cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            sys.stdout.write(line)
            output.append(line)
    return run.returncode, "".join(output)


@pytest.mark.parametrize("seed", _SEEDS)
def test_service_conforms_to_api_yml(server: Server, seed: str) -> None:
    """Each generated request gets a response that api.yml describes."""
    status, output = _fuzz(f"{server.url}/api/openapi.json", seed)
    assert status == 0
    assert f"Tested: {len(OPERATIONS)}" in output
    assert set(re.findall(r"✅ (\w+)$", output, re.MULTILINE)) == _PHASES
