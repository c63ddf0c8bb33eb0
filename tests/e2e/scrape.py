"""The metrics of a server, as Prometheus scrapes them."""

import re
from collections.abc import Callable
from pathlib import Path

import requests

from promo_api.dev.ports import free_port
from promo_api.dev.processes import wait_until
from tests.e2e.server import Server

_SAMPLE = re.compile(r"^(promo_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT_S = 20
_HOST = "127.0.0.1"


def with_metrics(environment: dict[str, str]) -> dict[str, str]:
    """Return settings that serve metrics on a free port."""
    return environment | {"METRICS_ADDRESS": f"{_HOST}:{free_port(_HOST)}"}


class Metrics:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self._samples = [
            (name, set(_LABEL.findall(labels)), float(value)) for name, labels, value in _SAMPLE.findall(text)
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all series with these labels."""
        return sum(
            value
            for sample, sample_labels, value in self._samples
            if sample == name and labels.items() <= sample_labels
        )


def scrape(server: Server) -> Metrics:
    """Return the metrics of a server."""
    response = requests.get(f"http://{server.environment['METRICS_ADDRESS']}/metrics", timeout=10)
    assert response.status_code == 200, response.text
    return Metrics(response.text)


def settled(server: Server, condition: Callable[[Metrics], bool]) -> Metrics:
    """Wait until the metrics fulfil the condition, and return them. A request is counted shortly after its response."""
    assert wait_until(lambda: condition(scrape(server)), _TIMEOUT_S)
    return scrape(server)


def folder_of(server: Server) -> Path:
    """Return the folder of the metric files of a server."""
    maps = Path(f"/proc/{server.workers()[0].pid}/maps").read_text(encoding="utf-8")
    (folder,) = {Path(file).parent for file in re.findall(r"(/\S+/promo-metrics-\S+\.db)", maps)}
    return folder
