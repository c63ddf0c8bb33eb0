"""docs/operations.md and the dashboard have exactly the metrics that exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml
from prometheus_client import Metric

from promo_api.telemetry import metrics, replica_metrics, webhook_metrics

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
_DASHBOARD = json.loads((_ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
_ROW = re.compile(r"^\| `(promo_\w+)` \| (\w+) \| (.*?) \| (.*?) \| (.+) \|$", re.MULTILINE)


def _declared() -> dict[str, Metric]:
    """Return the metrics by the name that queries use."""
    assert webhook_metrics.RESULTS
    assert replica_metrics.RESULTS  # imported, so that its metrics are registered
    found = {each.name: each for each in metrics.REGISTRY.collect()}
    return {f"{name}_total" if each.type == "counter" else name: each for name, each in found.items()}


def _labels(metric: Metric) -> dict[str, set[str]]:
    """Return the labels of a metric with their current values."""
    found: dict[str, set[str]] = {name: set() for name in _label_names(metric)}
    for sample in metric.samples:
        for name, value in sample.labels.items():
            if name != "le":
                found[name].add(value)
    return found


def _label_names(metric: Metric) -> tuple[str, ...]:
    collectors = metrics.REGISTRY._names_to_collectors
    return cast("Any", collectors[metric.name])._labelnames or ()


def _listed_labels(cell: str) -> dict[str, str]:
    return dict(re.findall(r"`(\w+)`: ([^;]+)", cell))


def test_page_lists_each_metric() -> None:
    """The page has a row for each metric, and the metric of each row exists with its type and its labels."""
    rows = {name: (kind, [*_listed_labels(labels)]) for name, kind, labels, _, _ in _ROW.findall(_PAGE)}
    declared = {name: (each.type, [*_label_names(each)]) for name, each in _declared().items()}
    assert rows == declared


def test_page_lists_the_values_of_labels() -> None:
    """Where the page lists the values of a label, the metric has exactly these from the start."""
    listed = 0
    for name, _, cell, _, _ in _ROW.findall(_PAGE):
        for label, text in _listed_labels(cell).items():
            values = set(re.findall(r"`(\w+)`", text))
            if values:
                assert values == _labels(_declared()[name])[label], name
                listed += 1
    assert listed >= 8


def test_alerts_name_existing_metrics() -> None:
    """The alerts name only existing metrics, and `up`, with labels and values that exist."""
    rules = yaml.safe_load((_ROOT / "deploy" / "prometheus-rules.yml").read_text(encoding="utf-8"))
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert len(expressions) >= 8
    assert set().union(*map(_named, expressions)) <= {*_declared()}
    for name, matchers in re.findall(r"\b(promo_\w+)\{([^}]*)\}", " ".join(expressions)):
        labels = _labels(_declared()[_whole(name) if name not in _declared() else name])
        for label, operator, value in re.findall(r'(\w+)([=!]~?)"([^"]*)"', matchers):
            assert label in labels, name
            if operator == "=" and labels[label]:
                assert value in labels[label] | {"cut"}, name


def _named(expression: str) -> set[str]:
    """Return the metrics of an expression; the parts of a histogram are the histogram."""
    histograms = {name for name, each in _declared().items() if each.type == "histogram"}
    names = set(re.findall(r"\bpromo_\w+", expression))
    return {re.sub(r"_(bucket|sum|count)$", "", name) if _whole(name) in histograms else name for name in names}


def _whole(name: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", name)


def _expressions(panel: Any) -> Iterator[str]:
    for target in panel.get("targets", ()):
        yield target["expr"]


def test_dashboard_queries_existing_metrics() -> None:
    """Each panel of the dashboard has a title and a query, and its metrics exist."""
    panels = [panel for panel in _DASHBOARD["panels"] if panel["type"] != "row"]
    assert len(panels) >= 8
    for panel in panels:
        assert panel["title"]
        queries = [*_expressions(panel)]
        assert queries, panel["title"]
        assert all(_named(expression) for expression in queries), panel["title"]
        assert set().union(*map(_named, queries)) <= {*_declared()}, panel["title"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_dashboard_can_be_imported() -> None:
    """The only data source is a variable, as the import of Grafana needs."""
    text = json.dumps(_DASHBOARD)
    assert set(re.findall(r'"uid": "(\$[^"]+|[^"]*)"', text)) <= {"${datasource}", "promo-code-api"}
    (variable,) = [each for each in _DASHBOARD["templating"]["list"] if each["name"] == "datasource"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    assert _DASHBOARD["schemaVersion"] >= 38


def test_labels_have_few_values() -> None:
    """No label has values from input: each has one value per operation or status, or few values."""
    assert {name for each in _declared().values() for name in _label_names(each)} == {
        "kind", "limit", "operation", "pool", "status", "outcome", "reason", "result", "state", "sweeper", "type",
        "version",
    }  # fmt: skip
