"""How much the metrics of this process have increased."""

from promo_api.telemetry import metrics


class MetricDelta:
    """The increase of each metric since this object was created."""

    def __init__(self) -> None:
        self._before = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for metric in metrics.REGISTRY.collect()
            for sample in metric.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """Return the increase of a sample; a missing sample is 0."""
        value = metrics.REGISTRY.get_sample_value(name, labels) or 0.0
        return value - self._before.get((name, frozenset(labels.items())), 0.0)
