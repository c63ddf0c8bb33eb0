"""The Docker engine, through its command line programs."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# For building an image and pulling others.
_TIMEOUT_S = 1800


class NoEngine(Exception):
    """There is no usable engine. The message is a sentence."""


class Engine:
    """The engine of this machine.

    Raises:
        NoEngine: Docker or Docker Compose is not available.
    """

    def __init__(self) -> None:
        self._docker = shutil.which("docker") or ""
        if not self._docker or _run([self._docker, "info"]).returncode != 0:
            raise NoEngine("No Docker engine is running on this machine.")
        self._compose = [self._docker, "compose"]
        if _run([*self._compose, "version"]).returncode != 0:
            self._compose = [shutil.which("docker-compose") or ""]
        if not self._compose[0]:
            raise NoEngine("Docker Compose is not installed on this machine.")

    def docker(self, *arguments: str) -> str:
        """Run `docker` and return its output; fail if it fails."""
        return _output(_run([self._docker, *arguments]))

    def compose(self, folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
        """Run Compose in a folder with exactly this environment, and return its output; fail if it fails."""
        return _output(_run([*self._compose, *arguments], folder, environment))

    def inspect(self, name: str) -> Any:
        """Return the metadata of an image or a container."""
        [metadata] = json.loads(self.docker("inspect", name))
        return metadata

    def log(self, container: str) -> str:
        """Return the log of a container."""
        done = _run([self._docker, "logs", container])
        return done.stdout + done.stderr

    def run(self, image: str, *command: str, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        """Run a command in a new container without a network."""
        return _run([self._docker, "run", "--rm", "--network", "none", *options, image, *command])

    def dangling_images(self) -> set[str]:
        """Return the images without a name, such as build stages."""
        return set(self.docker("images", "--quiet", "--no-trunc", "--filter", "dangling=true").split())


def _run(
    command: list[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip


def _output(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, f"{done.args}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
