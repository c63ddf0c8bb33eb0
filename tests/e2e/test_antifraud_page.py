"""The example service and the commands of docs/antifraud.md, run as written except for the port and the interpreter."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.dev.ports import free_port
from promo_api.dev.processes import wait_until
from tests.e2e.environment import assert_no_secrets
from tests.e2e.server import Server
from tests.pages import ROOT, code

_HOST, _PORT = "127.0.0.1", "9090"
_START_S, _END_S = 20, 10


class Example:
    """The example service as a process; it logs a line for each call."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._log = folder / "log"
        self.port = port

    def refuse(self, email: str) -> None:
        """Refuse an e-mail address from now on."""
        (self._folder / "denied.txt").write_text(f"{email}\n")

    def calls(self) -> int:
        """Return the number of calls."""
        return self._log.read_text().count('"POST /api/validate HTTP/1.1" 200')

    def listens(self) -> bool:
        """Return whether it accepts connections."""
        return _run(code("docs/antifraud.md", "sh call"), self.port).returncode == 0


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    """The example service."""
    script, port = tmp_path / "antifraud.py", free_port(_HOST)
    script.write_text(code("docs/antifraud.md", "python antifraud.py"), encoding="utf-8")
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, script, _HOST, str(port)], cwd=tmp_path, stderr=log)
    try:
        example = Example(tmp_path, port)
        assert wait_until(example.listens, _START_S)
        yield example
    finally:
        process.terminate()
        process.wait(_END_S)


def test_example_behind_the_server(example: Example, e2e_environment: dict[str, str], tmp_path: Path) -> None:
    """The example allows and refuses users, and is called once for each, because its verdicts are cached."""
    settings = e2e_environment | {"ANTIFRAUD_ADDRESS": f"{_HOST}:{example.port}"}
    with Server(settings, tmp_path) as server:
        promo_id = server.accounts.sign_up_company().create_promo()
        allowed, refused = server.accounts.sign_up_user(), server.accounts.sign_up_user()
        example.refuse(refused.body["email"])
        before = example.calls()
        statuses = [user.post(f"/user/promo/{promo_id}/activate").status_code for user in (allowed, refused) * 2]
        assert statuses == [200, 403, 200, 403]
        assert example.calls() == before + 2
        assert refused.get(f"/user/promo/{promo_id}/eligibility").json()["reasons"] == ["blocked"]
        assert server.accounts.call("GET", "/health").json()["status"] == "ok"
    assert_no_secrets(server)


def test_example_conforms(example: Example) -> None:
    """The example conforms to its OpenAPI description, by the command of the page."""
    done = _run_conformance(example.port)
    assert done.returncode == 0, done.stdout


def test_stub_conforms() -> None:
    """The stub conforms as well, and a stub with an invalid response does not."""
    with EmbeddedAntifraud() as stub:
        assert stub.port is not None
        assert _run_conformance(stub.port).returncode == 0
        requests.put(f"http://{stub.address}/stub/behaviour", json={"body": "{}"}, timeout=10)
        assert _run_conformance(stub.port).returncode == 1


def _run_conformance(port: int) -> "subprocess.CompletedProcess[str]":
    command, program = code("docs/antifraud.md", "sh conformance"), Path(sys.executable).parent / "schemathesis"
    assert ".venv/bin/schemathesis" in command
    return _run(command.strip().replace(".venv/bin/schemathesis", str(program)) + " --max-examples 20", port)


def _run(command: str, port: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/bash", "-c", command.replace(_PORT, str(port))],
        cwd=ROOT,
        check=False,
        text=True,
        capture_output=True,
    )
