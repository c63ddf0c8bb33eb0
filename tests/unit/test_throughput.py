"""tests.bench.throughput: when a row is met, and how the results are read."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.throughput import RATIO_MIN, Load, main, rows

_YARDSTICK = Load(1000, 2, 4, 0)


def _row(ours: Load, yardstick: Load = _YARDSTICK, name: str = "feed") -> str:
    results = {each: [_written(ours), _written(yardstick)] for each in RATIO_MIN}
    [row] = [row for row in rows(json.loads(json.dumps(results))) if row.name == name]
    return str(row)


def _written(load: Load) -> dict[str, Any]:
    return {"rate": load.requests_per_s, "p50": load.p50_ms, "p99": load.p99_ms, "bad": load.failed, "timeouts": 0}


@pytest.mark.parametrize(
    ("ours", "result"),
    [
        (Load(500, 2, 8, 0), "met"),
        (Load(499, 2, 8, 0), "NOT MET: ratio"),
        (Load(900, 2, 8.1, 0), "NOT MET: p99/p50"),
        (Load(900, 2, 8, 1), "NOT MET: failed"),
        (Load(0, float("nan"), float("nan"), 9), "NOT MET: ratio, p99/p50, failed"),
    ],
)
def test_verdict(ours: Load, result: str) -> None:
    """A row is met if ratio, p99/p50 and failures are within their bounds; otherwise it names the failed bounds."""
    assert _row(ours).endswith(f"  {result}")


def test_refusing_yardstick() -> None:
    """A row is not met if requests to the yardstick failed."""
    assert _row(Load(900, 2, 8, 0), _YARDSTICK._replace(failed=3)).endswith("       3  NOT MET: failed")


def test_scenario_without_a_bound() -> None:
    """A scenario whose ratio has no bound is met at any ratio, but not with failures."""
    assert _row(Load(1, 2, 8, 0), name="ping").endswith("  met")
    assert _row(Load(1, 2, 8, 1), name="ping").endswith("  NOT MET: failed")


def test_timeouts_are_failures() -> None:
    """A request without a timely response counts as failed."""
    results = {name: [{"rate": 1.0, "p50": 1.0, "p99": 1.0, "bad": 2, "timeouts": 3}] * 2 for name in RATIO_MIN}
    assert rows(results)[0].ours.failed == 5


def test_missing_scenario() -> None:
    """A bound without a measurement is an error."""
    results = {name: [_written(_YARDSTICK)] * 2 for name in RATIO_MIN if name not in ("feed", "stat")}
    with pytest.raises(ValueError, match="did not measure feed, stat"):
        rows(results)


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ([], 0, "No yardstick was set, so this benchmark is skipped"),
        (["--yardstick", "{folder}"], 2, "is not a yardstick"),
    ],
)
def test_no_yardstick(
    arguments: list[str],
    status: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a yardstick the benchmark is skipped with a sentence; an invalid folder is an error."""
    monkeypatch.setattr(sys, "argv", ["throughput", *(each.format(folder=tmp_path) for each in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    assert sentence in "".join(capsys.readouterr())
