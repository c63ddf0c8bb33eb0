"""The example session of the README, run as written."""

import os
import subprocess

from tests.e2e.server import Server
from tests.pages import code


def test_example_session(server: Server) -> None:
    """Each command works, and the company's code reaches the user and the statistics."""
    script = "set -eu -o pipefail\n" + code("README.md", "sh story")
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        env={**os.environ, "API": f"{server.url}/api"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert '{"promo":"BEAN-1"}' in lines
    assert lines[-1] == '{"activations_count":1,"countries":[{"country":"fr","activations_count":1}]}'
    assert not any('"error"' in line for line in lines)
