"""The story of the README, run as it is written."""

import os
import re
import subprocess
from pathlib import Path

from tests.e2e.server import Server

_README = Path(__file__).parents[2] / "README.md"


def test_story_in_curl(server: Server) -> None:
    """Each command of the story works, and the code that the company offers reaches the user and the statistics."""
    story = re.search(r"^```sh story\n(.*?)^```", _README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert story is not None
    script = "set -eu -o pipefail\n" + story[1]
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        env={**os.environ, "API": f"{server.url}/api"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert '{"promo":"BEAN-1"}' in told
    assert told[-1] == '{"activations_count":1,"countries":[{"country":"fr","activations_count":1}]}'
    assert not any('"error"' in line for line in told)
