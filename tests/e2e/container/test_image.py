"""The contents and the restrictions of the image."""

import json
from dataclasses import fields
from typing import Any

import pytest

from promo_api.config.settings import Settings, variable
from tests.e2e.container.deployment import Deployment
from tests.e2e.container.engine import Engine

_CONFINED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # noqa: S108 the container's
_WRITE = """
import json, pathlib, sys
results = {}
for folder in sys.argv[1:]:
    try:
        pathlib.Path(folder, "written").write_text("x")
        results[folder] = "written"
    except OSError as error:
        results[folder] = error.strerror
print(json.dumps(results))
"""
# For the Python of the virtual environment and its base.
_TOOLS = """
import json, shutil, subprocess, sys
names = "pip pip3 gcc cc g++ c++ clang make cmake ld as cargo rustc dpkg-buildpackage".split()
found = [name for name in names if shutil.which(name)]
look = "import importlib.util as u; print(*(name for name in ('pip', 'ensurepip') if u.find_spec(name)))"
for python in {sys.executable, sys._base_executable}:
    found += subprocess.run([python, "-c", look], capture_output=True, text=True, check=True).stdout.split()
print(json.dumps(found))
"""
# Built-in, frozen and extension modules have no bytecode.
_COMPILED = """
import json, os, sys
import promo_api.app, promo_api.server.gunicorn_app, http.client
cached = [m.__spec__.cached for m in sys.modules.values() if getattr(m, "__spec__", None) and m.__spec__.cached]
print(json.dumps([len(cached), [file for file in cached if not os.path.exists(file)]]))
"""
_HIDDEN = "import json, pathlib; print(json.dumps([str(p) for p in pathlib.Path('/').glob('srv/promo/**/.*')]))"


@pytest.fixture
def run_python(engine: Engine, deployment: Deployment) -> Any:
    """Returns a function that runs Python code in a container and parses its JSON output."""

    def run(program: str, *arguments: str, options: tuple[str, ...] = _CONFINED) -> Any:
        done = engine.run(deployment.image, "python", "-c", program, *arguments, options=options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_user(run_python: Any) -> None:
    """The default user is not root."""
    assert run_python("import os; print([os.getuid(), os.geteuid(), os.getgid()])") == [10001] * 3


def test_writing(run_python: Any) -> None:
    """Only /tmp is writable if the root file system is read-only. Code and packages are never writable."""
    paths = ["/", "/srv/promo", "/opt/promo", "/var/tmp", "/var/lib/promo"]  # noqa: S108 of the container
    results = run_python(_WRITE, *paths, "/tmp")  # noqa: S108 of the container
    assert results == dict.fromkeys(paths, "Read-only file system") | {"/tmp": "written"}  # noqa: S108 of the container
    code = ["/", "/srv/promo", "/srv/promo/promo_api", "/opt/promo/bin"]
    assert run_python(_WRITE, *code, options=()) == dict.fromkeys(code, "Permission denied")


def test_no_build_tools(run_python: Any) -> None:
    """The image has no compilers and no package installers."""
    assert run_python(_TOOLS) == []


def test_bytecode(run_python: Any) -> None:
    """All modules of the service have bytecode, which could not be written at run time."""
    loaded, uncompiled = run_python(_COMPILED)
    assert loaded > 300
    assert uncompiled == []


def test_no_secrets(engine: Engine, deployment: Deployment, run_python: Any) -> None:
    """Neither the environment nor the history of the image names a secret, and it contains no .env."""
    secrets = [variable(declared) for declared in fields(Settings) if not declared.repr]
    assert "SECRET_KEY" in secrets
    environment = "\n".join(engine.inspect(deployment.image)["Config"]["Env"])
    history = engine.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", deployment.image)
    assert "promo_api" in history
    assert [name for name in secrets if name in environment + history] == []
    assert run_python(_HIDDEN) == []


def test_migrate_without_settings(engine: Engine, deployment: Deployment) -> None:
    """`migrate` runs as a command of the container, and names the settings that are missing."""
    done = engine.run(deployment.image, "python", "-m", "promo_api", "migrate", options=_CONFINED)
    assert done.returncode == 2
    assert "ANTIFRAUD_ADDRESS is not set" in done.stderr
    assert "SECRET_KEY is not set" in done.stderr
