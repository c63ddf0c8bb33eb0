"""The image: what is in it, what is not, and what it may do."""

import json
from dataclasses import fields
from typing import Any

import pytest

from promo_api.settings import Settings, variable
from tests.e2e.container.deployment import Deployment
from tests.e2e.container.engine import Engine

_CONFINED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # noqa: S108 the container's
_WRITE = """
import json, pathlib, sys
told = {}
for folder in sys.argv[1:]:
    try:
        pathlib.Path(folder, "written").write_text("x")
        told[folder] = "written"
    except OSError as error:
        told[folder] = error.strerror
print(json.dumps(told))
"""
# Of the Python that runs the service, and of the one that it was made of.
_TOOLS = """
import json, shutil, subprocess, sys
names = "pip pip3 gcc cc g++ c++ clang make cmake ld as cargo rustc dpkg-buildpackage".split()
there = [name for name in names if shutil.which(name)]
look = "import importlib.util as u; print(*(name for name in ('pip', 'ensurepip') if u.find_spec(name)))"
for python in {sys.executable, sys._base_executable}:
    there += subprocess.run([python, "-c", look], capture_output=True, text=True, check=True).stdout.split()
print(json.dumps(there))
"""
# What is built in, frozen or a library has no bytecode of its own.
_COMPILED = """
import json, os, sys
import promo_api.app, promo_api.server.gunicorn_app, http.client
cached = [m.__spec__.cached for m in sys.modules.values() if getattr(m, "__spec__", None) and m.__spec__.cached]
print(json.dumps([len(cached), [file for file in cached if not os.path.exists(file)]]))
"""
_HIDDEN = "import json, pathlib; print(json.dumps([str(p) for p in pathlib.Path('/').glob('srv/promo/**/.*')]))"


@pytest.fixture
def told(engine: Engine, deployment: Deployment) -> Any:
    """Runs Python in a container, and returns what it printed as JSON."""

    def tell(program: str, *arguments: str, options: tuple[str, ...] = _CONFINED) -> Any:
        done = engine.run(deployment.image, "python", "-c", program, *arguments, options=options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return tell


def test_user(told: Any) -> None:
    """Whoever starts the image gets a user that is not root."""
    assert told("import os; print([os.getuid(), os.geteuid(), os.getgid()])") == [10001] * 3


def test_writing(told: Any) -> None:
    """On a root file system that can be read only, /tmp alone can be written; elsewhere code and packages can't."""
    closed = ["/", "/srv/promo", "/opt/promo", "/var/tmp", "/var/lib/promo"]  # noqa: S108 of the container
    assert told(_WRITE, *closed, "/tmp") == dict.fromkeys(closed, "Read-only file system") | {"/tmp": "written"}  # noqa: S108 too
    ours = ["/", "/srv/promo", "/srv/promo/promo_api", "/opt/promo/bin"]
    assert told(_WRITE, *ours, options=()) == dict.fromkeys(ours, "Permission denied")


def test_no_tools(told: Any) -> None:
    """Nothing is there to install or build anything with."""
    assert told(_TOOLS) == []


def test_all_is_compiled(told: Any) -> None:
    """Every module that the service loads has its bytecode already, since none could be kept."""
    loaded, uncompiled = told(_COMPILED)
    assert loaded > 300
    assert uncompiled == []


def test_no_secrets(engine: Engine, deployment: Deployment, told: Any) -> None:
    """Neither the environment of the image nor its history names a secret, and no .env is in it."""
    secrets = [variable(declared) for declared in fields(Settings) if not declared.repr]
    assert "SECRET_KEY" in secrets
    environment = "\n".join(engine.inspect(deployment.image)["Config"]["Env"])
    history = engine.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", deployment.image)
    assert "promo_api" in history
    assert [name for name in secrets if name in environment + history] == []
    assert told(_HIDDEN) == []


def test_migrate_as_a_one_off(engine: Engine, deployment: Deployment) -> None:
    """A command of the service is a command of the container; without settings it says what it wants."""
    done = engine.run(deployment.image, "python", "-m", "promo_api", "migrate", options=_CONFINED)
    assert done.returncode == 2
    assert "ANTIFRAUD_ADDRESS is not set" in done.stderr
    assert "SECRET_KEY is not set" in done.stderr
