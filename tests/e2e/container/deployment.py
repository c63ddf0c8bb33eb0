"""The containers of docker-compose.yml, in a separate Compose project."""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from promo_api.config.settings import Settings, variable
from promo_api.dev.ports import free_port
from promo_api.dev.processes import wait_until
from tests.accounts import Api
from tests.e2e.container.engine import Engine
from tests.e2e.remote import Remote

_ROOT = Path(__file__).parents[3]
_FILES = ["Dockerfile", "docker-compose.yml", ".dockerignore", ".env.example", "api.yml", "requirements.lock"]
_FOLDERS = ["promo_api", "handlers", "persistence", "deploy"]
_BUILT = ["web", "migrate", "key", "antifraud"]
_TIMEOUT_S = 90
_KILL = "import os, sys; os.kill(int(sys.argv[1]), 9)"
_WORKERS = """
import pathlib
status = {path.parent.name: path.read_text() for path in pathlib.Path("/proc").glob("[0-9]*/status")}
print(*(pid for pid, text in status.items() if "\\nPPid:\\t1\\n" in text and "python" in text.split("\\n")[0]))
"""
_READ_SECRET = "import os, pathlib, sys; print(pathlib.Path(os.environ[sys.argv[1] + '_FILE']).read_text())"
_SECRETS = ["SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"]
_CALL_STUB = """
import sys, urllib.request
method, path, body = sys.argv[1:]
request = urllib.request.Request("http://127.0.0.1:9090/stub" + path, body.encode() or None, method=method)
request.add_header("Content-Type", "application/json")
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""


class Deployment:
    """The containers that `cp .env.example .env && docker compose up -d --build` starts, on a copy of the files.

    It has its own Compose project, image and ports. BUILD_NETWORK sets the network for building the image.

    Attributes:
        folder: of the copy and its .env.
        image: the name of the image.
        url: of the API.
        remote: the HTTP client of the tests.
        accounts: creates accounts.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._dangling_before = engine.dangling_images()
        self._project = f"promo-e2e-{os.getpid()}"
        self.folder = folder
        self.image = f"{self._project}:test"
        port = free_port("127.0.0.1")
        settings = {variable(declared) for declared in fields(Settings)} | {"COMPOSE_FILE"}
        inherited = {name: value for name, value in os.environ.items() if name not in settings}
        own = {
            "COMPOSE_PROJECT_NAME": self._project,
            "PUBLISHED_PORT": f"127.0.0.1:{port}",
            "PUBLISHED_METRICS_PORT": str(free_port("127.0.0.1")),
        }
        self._environment = inherited | own
        self.url = f"http://127.0.0.1:{port}"
        self.remote = Remote(self.url)
        self.accounts = Api(self.remote)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        """Build the image and start all containers; remove operations if that fails."""
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
        """Remove containers, networks, volumes and the image."""
        self.remote.close()
        self._remove()

    def compose(self, *arguments: str) -> str:
        """Run Compose on these containers, and return its output."""
        return self._engine.compose(self.folder, self._environment, *arguments)

    def up(self, *options: str) -> None:
        """Start all containers with the settings of .env, and wait until the API responds."""
        self.compose("up", "-d", *options)
        self.await_service()

    def await_service(self) -> None:
        """Wait until the API responds."""
        assert wait_until(self.responds, _TIMEOUT_S), self.log

    def responds(self) -> bool:
        """Return whether the API responds."""
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/api/ping", timeout=5).status_code == 200
        return False

    def inside(self, service: str, *command: str) -> str:
        """Run a command inside a container, and return its output."""
        return self.compose("exec", "-T", service, *command)

    def container(self, service: str) -> str:
        """Return the ID of the container of a Compose service, running or not."""
        return self.compose("ps", "-a", "-q", service).strip()

    def state(self, service: str) -> Any:
        """Return the state of the container of a Compose service, from the engine."""
        return self._engine.inspect(self.container(service))["State"]

    @property
    def log(self) -> str:
        """The log of the service since its container was created."""
        return self._engine.log(self.container("web"))

    @property
    def environment(self) -> dict[str, str]:
        """The generated secrets of the service."""
        return {name: self.inside("web", "python", "-c", _READ_SECRET, name).strip() for name in _SECRETS}

    def workers(self) -> set[str]:
        """Return the process IDs of the workers inside their container."""
        return set(self.inside("web", "python", "-c", _WORKERS).split())

    def kill_worker(self) -> None:
        """Kill a worker, and wait for its replacement."""
        before = self.workers()
        self.inside("web", "python", "-c", _KILL, min(before))
        assert wait_until(lambda: len(self.workers() - before) == 1, _TIMEOUT_S), self.log

    def kill(self, service: str) -> None:
        """Kill the first process of a container, and wait until the engine has restarted it.

        After `docker kill` the engine would not restart it. A process inside the container cannot kill PID 1,
        so a container with access to all processes does it.
        """
        container = self.container(service)
        before = self._engine.inspect(container)
        options = ("--pid", "host", "--user", "0")
        pid = str(before["State"]["Pid"])
        done = self._engine.run(self.image, "python", "-c", _KILL, pid, options=options)
        assert done.returncode == 0, done.stderr

        def is_back() -> bool:
            now = self._engine.inspect(container)
            restarted = now["RestartCount"] == before["RestartCount"] + 1
            return bool(restarted and now["State"]["Running"] and now["State"]["Pid"] != before["State"]["Pid"])

        assert wait_until(is_back, _TIMEOUT_S)

    def configure_antifraud(self, **behaviour: object) -> None:
        """Set how the anti-fraud stub responds."""
        self.inside("antifraud", "python", "-c", _CALL_STUB, "PUT", "/behaviour", json.dumps(behaviour))

    def reset_antifraud(self) -> None:
        """Reset the anti-fraud stub, which also releases delayed calls."""
        self.inside("antifraud", "python", "-c", _CALL_STUB, "DELETE", "", "")

    def calls(self, email: str) -> int:
        """Return the number of anti-fraud calls about an e-mail address."""
        report = self.inside("antifraud", "python", "-c", _CALL_STUB, "GET", "/calls", "")
        return int(json.loads(report)["by_email"].get(email, 0))

    def issued(self, promo_id: str) -> set[str]:
        """Return the codes of a promo that PostgreSQL has stored with an activation."""
        statement = f"SELECT value FROM promo_codes WHERE promo_id = '{promo_id}' AND activation_id IS NOT NULL"  # noqa: S608 the id is the API's own
        return set(self.sql(statement).split())

    def sql(self, statement: str) -> str:
        """Run a statement as the superuser of PostgreSQL, and return its rows as text."""
        return self.inside("postgres", "psql", "-U", "promo_admin", "-d", "promo", "-Atc", statement)

    def assert_well(self) -> None:
        """Assert that the command `check` succeeds, which also recounts all counters."""
        self.inside("web", "python", "-m", "promo_api", "check")

    def _copy(self) -> None:
        for name in _FILES:
            shutil.copy(_ROOT / name, self.folder)
        for name in _FOLDERS:
            shutil.copytree(_ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        settings = (_ROOT / ".env.example").read_text(encoding="utf-8")
        (self.folder / ".env").write_text(f"{settings}\nVALIDATE_RESPONSES=true\n", encoding="utf-8")
        network = os.environ.get("BUILD_NETWORK", "")
        build = {"context": "."} | ({"network": network} if network else {})
        own = {"services": {name: {"image": self.image, "build": build} for name in _BUILT}}
        (self.folder / "docker-compose.override.yml").write_text(json.dumps(own), encoding="utf-8")

    def _remove(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        for image in {self.image} | (self._engine.dangling_images() - self._dangling_before):
            with suppress(AssertionError):  # it was not built
                self._engine.docker("rmi", image)
