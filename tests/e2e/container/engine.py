"""A Docker engine, asked by the programs that people ask it with."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# An image is built, and others may have to be fetched.
_PATIENCE_S = 1800


class NoEngine(Exception):
    """There is no engine that could be used; the text is a sentence."""


class Engine:
    """The engine of this machine.

    Raises:
        NoEngine: there is none, or no Docker Compose.
    """

    def __init__(self) -> None:
        self._docker = shutil.which("docker") or ""
        if not self._docker or _run([self._docker, "info"]).returncode != 0:
            raise NoEngine("No Docker engine answers on this machine.")
        self._compose = [self._docker, "compose"]
        if _run([*self._compose, "version"]).returncode != 0:
            self._compose = [shutil.which("docker-compose") or ""]
        if not self._compose[0]:
            raise NoEngine("Docker Compose is not installed on this machine.")

    def docker(self, *arguments: str) -> str:
        """Run `docker`, which must succeed, and return what it printed."""
        return _printed(_run([self._docker, *arguments]))

    def compose(self, folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
        """Run Compose in a folder, with these variables alone; it must succeed; return what it printed."""
        return _printed(_run([*self._compose, *arguments], folder, environment))

    def inspect(self, name: str) -> Any:
        """Return what the engine knows of an image or a container."""
        [known] = json.loads(self.docker("inspect", name))
        return known

    def log(self, container: str) -> str:
        """Return all that a container has written."""
        done = _run([self._docker, "logs", container])
        return done.stdout + done.stderr

    def run(self, image: str, *command: str, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        """Run a command in a container of its own, without a network, to its end."""
        return _run([self._docker, "run", "--rm", "--network", "none", *options, image, *command])

    def loose_images(self) -> set[str]:
        """Return the images without a name: stages of those that were built."""
        return set(self.docker("images", "--quiet", "--no-trunc", "--filter", "dangling=true").split())


def _run(
    command: list[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=_PATIENCE_S, check=False,
    )  # fmt: skip


def _printed(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, f"{done.args}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
