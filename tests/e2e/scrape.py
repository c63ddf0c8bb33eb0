"""The metrics of a server, as Prometheus would get them."""

import re
from collections.abc import Callable
from pathlib import Path

import requests

from promo_api.dev.ports import free_port
from promo_api.dev.processes import wait_until
from tests.e2e.server import Server

_SAMPLE = re.compile(r"^(promo_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_PATIENCE_S = 20
_HOST = "127.0.0.1"


def with_metrics(environment: dict[str, str]) -> dict[str, str]:
    """Return the settings of a service whose metrics are on a free port."""
    return environment | {"METRICS_ADDRESS": f"{_HOST}:{free_port(_HOST)}"}


class Metrics:
    """All numbers of one moment."""

    def __init__(self, text: str) -> None:
        self._samples = [
            (name, set(_LABEL.findall(labels)), float(value)) for name, labels, value in _SAMPLE.findall(text)
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all series that have these labels."""
        return sum(value for found, theirs, value in self._samples if found == name and labels.items() <= theirs)


def scrape(server: Server) -> Metrics:
    """Return the metrics of a server."""
    answer = requests.get(f"http://{server.environment['METRICS_ADDRESS']}/metrics", timeout=10)
    assert answer.status_code == 200, answer.text
    return Metrics(answer.text)


def settled(server: Server, condition: Callable[[Metrics], bool]) -> Metrics:
    """Wait until the metrics of a server are so, and return them: a request is counted just after its answer."""
    assert wait_until(lambda: condition(scrape(server)), _PATIENCE_S)
    return scrape(server)


def folder_of(server: Server) -> Path:
    """Return the folder that the processes of a server count in."""
    maps = Path(f"/proc/{server.workers()[0].pid}/maps").read_text(encoding="utf-8")
    (folder,) = {Path(found).parent for found in re.findall(r"(/\S+/promo-metrics-\S+\.db)", maps)}
    return folder
