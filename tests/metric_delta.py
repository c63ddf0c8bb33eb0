"""Metrics of this process, as a test sees them: by how much they have grown."""

from promo_api import metrics


class Counting:
    """By how much each number has grown since this was made."""

    def __init__(self) -> None:
        self._before = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for metric in metrics.REGISTRY.collect()
            for sample in metric.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """Return by how much a number has grown; one that is not there is 0."""
        now = metrics.REGISTRY.get_sample_value(name, labels) or 0.0
        return now - self._before.get((name, frozenset(labels.items())), 0.0)
