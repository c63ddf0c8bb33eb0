"""The containers of docker-compose.yml, beside whatever else the engine runs."""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from promo_api.sandbox.ports import free_port
from promo_api.sandbox.processes import wait_until
from promo_api.settings import Settings, variable
from tests.accounts import Api
from tests.conformance import Conformance
from tests.e2e.container.engine import Engine
from tests.e2e.remote import Remote

_ROOT = Path(__file__).parents[3]
_FILES = ["Dockerfile", "docker-compose.yml", ".dockerignore", ".env.example", "api.yml", "requirements.lock"]
_FOLDERS = ["promo_api", "handlers", "persistence", "deploy"]
_BUILT = ["web", "migrate", "key", "antifraud"]
_PATIENCE_S = 90
_KILL = "import os, sys; os.kill(int(sys.argv[1]), 9)"
_WORKERS = """
import pathlib
status = {path.parent.name: path.read_text() for path in pathlib.Path("/proc").glob("[0-9]*/status")}
print(*(number for number, told in status.items() if "\\nPPid:\\t1\\n" in told and "python" in told.split("\\n")[0]))
"""
_READ_SECRET = "import os, pathlib, sys; print(pathlib.Path(os.environ[sys.argv[1] + '_FILE']).read_text())"
_SECRETS = ["SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"]
_STEER = """
import sys, urllib.request
method, path, body = sys.argv[1:]
asked = urllib.request.Request("http://127.0.0.1:9090/stub" + path, body.encode() or None, method=method)
asked.add_header("Content-Type", "application/json")
print(urllib.request.urlopen(asked, timeout=10).read().decode())
"""


class Deployment:
    """What `cp .env.example .env && docker compose up -d --build` starts, in a copy of the files that it needs.

    Project, image and port are its own. Where the environment names a BUILD_NETWORK, the image is built in that.

    Attributes:
        folder: where the copy and its .env are.
        image: the name of the image.
        url: where the API answers.
        remote: what the tests ask it with.
        people: those who ask it.
    """

    def __init__(self, engine: Engine, folder: Path, conformance: Conformance) -> None:
        self._engine = engine
        self._loose = engine.loose_images()
        self._project = f"promo-e2e-{os.getpid()}"
        self.folder = folder
        self.image = f"{self._project}:tried"
        port = free_port("127.0.0.1")
        settings = {variable(declared) for declared in fields(Settings)} | {"COMPOSE_FILE"}
        around = {name: value for name, value in os.environ.items() if name not in settings}
        own = {
            "COMPOSE_PROJECT_NAME": self._project,
            "PUBLISHED_PORT": f"127.0.0.1:{port}",
            "PUBLISHED_METRICS_PORT": str(free_port("127.0.0.1")),
        }
        self._environment = around | own
        self.url = f"http://127.0.0.1:{port}"
        self.remote = Remote(self.url)
        self.people = Api(self.remote, conformance)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        """Build the image and start everything; nothing stays if that fails."""
        try:
            self._copy()
            self.up("--build")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove everything: containers, networks, volumes, the image."""
        self.remote.close()
        self._remove()

    def compose(self, *arguments: str) -> str:
        """Run Compose on these containers, and return what it printed."""
        return self._engine.compose(self.folder, self._environment, *arguments)

    def up(self, *options: str) -> None:
        """Start what does not run, with the settings of .env, and wait until the API answers."""
        self.compose("up", "-d", *options)
        self.await_service()

    def await_service(self) -> None:
        """Wait until the API answers."""
        assert wait_until(self.answers, _PATIENCE_S), self.log

    def answers(self) -> bool:
        """Tell whether the API answers."""
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/api/ping", timeout=5).status_code == 200
        return False

    def inside(self, service: str, *command: str) -> str:
        """Run a command within a container, and return what it printed."""
        return self.compose("exec", "-T", service, *command)

    def container(self, service: str) -> str:
        """Return the id of the container of a service, whether it runs or not."""
        return self.compose("ps", "-a", "-q", service).strip()

    def state(self, service: str) -> Any:
        """Return the state of the container of a service, as the engine tells it."""
        return self._engine.inspect(self.container(service))["State"]

    @property
    def log(self) -> str:
        """All that the service has written since its container was made."""
        return self._engine.log(self.container("web"))

    @property
    def environment(self) -> dict[str, str]:
        """The secrets that were made for the service."""
        return {name: self.inside("web", "python", "-c", _READ_SECRET, name).strip() for name in _SECRETS}

    def workers(self) -> set[str]:
        """Return the numbers that the processes which answer requests have within their container."""
        return set(self.inside("web", "python", "-c", _WORKERS).split())

    def kill_worker(self) -> None:
        """End a worker at once, as a fault would, and wait for the one that takes its place."""
        before = self.workers()
        self.inside("web", "python", "-c", _KILL, min(before))
        assert wait_until(lambda: len(self.workers() - before) == 1, _PATIENCE_S), self.log

    def kill(self, service: str) -> None:
        """End the first process of a container at once, and wait until the engine has started it again.

        `docker kill` is how people end a container that is to stay so. Seen from within it, its first process can't be
        killed, so a container that sees all processes does it.
        """
        container = self.container(service)
        before = self._engine.inspect(container)
        options = ("--pid", "host", "--user", "0")
        number = str(before["State"]["Pid"])
        done = self._engine.run(self.image, "python", "-c", _KILL, number, options=options)
        assert done.returncode == 0, done.stderr

        def is_back() -> bool:
            now = self._engine.inspect(container)
            again = now["RestartCount"] == before["RestartCount"] + 1
            return bool(again and now["State"]["Running"] and now["State"]["Pid"] != before["State"]["Pid"])

        assert wait_until(is_back, _PATIENCE_S)

    def steer(self, **behaviour: object) -> None:
        """Say how the stand-in of the anti-fraud service answers from now on."""
        self.inside("antifraud", "python", "-c", _STEER, "PUT", "/behaviour", json.dumps(behaviour))

    def forget(self) -> None:
        """Have the stand-in answer in order from now on, also to those whom it keeps waiting."""
        self.inside("antifraud", "python", "-c", _STEER, "DELETE", "", "")

    def calls(self, email: str) -> int:
        """Return how often the stand-in was asked about an address."""
        told = self.inside("antifraud", "python", "-c", _STEER, "GET", "/calls", "")
        return int(json.loads(told)["by_email"].get(email, 0))

    def issued(self, promo_id: str) -> set[str]:
        """Return the codes of a promo that are recorded with an activation, as PostgreSQL tells."""
        statement = f"SELECT value FROM promo_codes WHERE promo_id = '{promo_id}' AND activation_id IS NOT NULL"  # noqa: S608 the id is the API's own
        return set(self.sql(statement).split())

    def sql(self, statement: str) -> str:
        """Run a statement as the superuser of PostgreSQL, and return its rows without headings."""
        return self.inside("postgres", "psql", "-U", "promo_admin", "-d", "promo", "-Atc", statement)

    def assert_well(self) -> None:
        """Assert that `check` finds everything well, all that is kept twice recounted."""
        self.inside("web", "python", "-m", "promo_api", "check")

    def _copy(self) -> None:
        for name in _FILES:
            shutil.copy(_ROOT / name, self.folder)
        for name in _FOLDERS:
            shutil.copytree(_ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(_ROOT / ".env.example", self.folder / ".env")
        network = os.environ.get("BUILD_NETWORK", "")
        build = {"context": "."} | ({"network": network} if network else {})
        own = {"services": {name: {"image": self.image, "build": build} for name in _BUILT}}
        (self.folder / "docker-compose.override.yml").write_text(json.dumps(own), encoding="utf-8")

    def _remove(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        for image in {self.image} | (self._engine.loose_images() - self._loose):
            with suppress(AssertionError):  # it was not built
                self._engine.docker("rmi", image)
