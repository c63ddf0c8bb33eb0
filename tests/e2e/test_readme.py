"""The example session of the README: run as a script, and pasted into interactive shells."""

import os
import shutil
import subprocess

import pytest

from tests.e2e.server import Server
from tests.e2e.terminal import SHELLS, Terminal
from tests.pages import code

_STORY = code("README.md", "sh story")
_STATISTICS = (
    '{"activations_count":1,"countries":[{"country":"fr","activations_count":1,"redemptions_count":1}],'
    '"redemptions_count":1}'
)


def _run(url: str, story: str = _STORY) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PROMO_API": f"{url}/api"}
    return subprocess.run(
        ["/bin/bash", "-uc", story], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_example_session(server: Server) -> None:
    """Each command works, and the company's code reaches the user, the shop and the statistics."""
    done = _run(server.url)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert '{"promo":"BEAN-1"}' in lines
    assert lines[-1] == _STATISTICS
    assert not any('"error"' in line for line in lines)


@pytest.mark.parametrize("bracketed", [True, False], ids=["bracketed", "line by line"])
@pytest.mark.parametrize("shell", SHELLS)
def test_paste(server: Server, shell: str, *, bracketed: bool) -> None:
    """Pasted twice into an interactive shell, it works twice and changes no variable of the shell."""
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    environment = {**os.environ, "USER": "ann", "TERM": "xterm", "PROMO_API": f"{server.url}/api"}
    with Terminal(SHELLS[shell], environment) as terminal:
        for number in (1, 2):
            terminal.paste(_STORY, bracketed=bracketed)
            terminal.send_keys(f'echo "run-$(({number} + 40)) $USER ${{promo-none}} ${{company-none}}"\r')
            output = terminal.read_until(f"run-{number + 40}")
        terminal.read_until("run-42 ann none none")
    assert output.count('{"promo":"BEAN-1"}') == 2
    assert output.count(_STATISTICS) == 2
    for problem in ("not found", "parse error", "syntax error", "read-only", "Traceback", '"error"'):
        assert problem not in output


def test_failed_step(server: Server) -> None:
    """The session ends at the first error, and shows the response with the field."""
    done = _run(server.url, _STORY.replace("Str0ng&Hot", "weak"))
    assert done.returncode == 1
    assert '"pointer":"/password"' in done.stdout
    assert "The user shows" not in done.stdout
    assert "Traceback" not in done.stderr


def test_service_is_not_running() -> None:
    """Without the service there is one line of error."""
    done = _run("http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("curl: (7) ")
    assert done.stderr.count("\n") == 1
