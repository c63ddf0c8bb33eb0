"""deploy/prometheus-rules.yml: its alerts, and tests of them with promtool, Prometheus' own tool."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pages import ROOT

_RULES = ROOT / "deploy" / "prometheus-rules.yml"
_TESTS = ROOT / "tests" / "unit" / "prometheus_rules.yml"
_DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
_ALERTS: list[dict[str, Any]] = yaml.safe_load(_RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]


@pytest.fixture
def promtool() -> str:
    """The path of promtool."""
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return path


def _assert_succeeds(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_are_described() -> None:
    """Each alert has a unique name, a severity, a summary, and a description with an action."""
    assert len({alert["alert"] for alert in _ALERTS}) == len(_ALERTS) >= 14
    for alert in _ALERTS:
        assert alert["for"] == "1m", alert["alert"]
        assert alert["labels"]["severity"] in ("critical", "warning"), alert["alert"]
        assert {*alert["annotations"]} == {"summary", "description"}, alert["alert"]
        assert alert["annotations"]["description"].endswith("."), alert["alert"]


def test_each_alert_is_tested() -> None:
    """The test file makes each alert fire."""
    fires = yaml.safe_load(_TESTS.read_text(encoding="utf-8"))["tests"][0]["promql_expr_test"][0]["exp_samples"]
    assert [each["labels"] for each in fires] == [f'{{alertname="{alert["alert"]}"}}' for alert in _ALERTS]


def test_alerts(promtool: str) -> None:
    """The rules are valid. Each alert fires in its case, and none in normal operation."""
    _assert_succeeds(promtool, "check", "rules", str(_RULES))
    _assert_succeeds(promtool, "test", "rules", str(_TESTS))


def test_queries_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    """Prometheus can parse each query of the dashboard."""
    panels = json.loads(_DASHBOARD.read_text(encoding="utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    queries = [query.replace("$__rate_interval", "1m").replace("$instance", ".*") for query in queries]
    assert len(queries) >= 23
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    _assert_succeeds(promtool, "check", "rules", str(file))
