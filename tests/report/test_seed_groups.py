"""Runs of one configuration are taken together, and only those."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from distributed_il.evaluation.metric_columns import METRICS
from distributed_il.evaluation.metrics.bootstrap import Estimate
from distributed_il.report.measurement import Comparison, Predictor
from distributed_il.report.records import RunRecord
from distributed_il.report.results import MetricCell, difference_cells
from distributed_il.report.seed_groups import mean_pairs, seed_groups, spread_rows
from distributed_il.training.monitor import DecisionHistory, WeightHistogram


def run(run_dir: str, seed: int, rate: float = 0.001, workers: int = 1) -> RunRecord:
    settings: dict[str, Any] = {
        "run.dir": run_dir,
        "run.seed": seed,
        "run.workers": workers,
        "optimizer.learning_rate": rate,
    }
    return RunRecord(run_dir, run_dir, settings, [], DecisionHistory(), WeightHistogram(), WeightHistogram(), None)


def predictor(name: str, value: float, *resampled: float) -> Predictor:
    return Predictor(name, dict.fromkeys(METRICS, value), {"auc": Estimate(value, np.array(resampled))}, {})


def compared(*models: Predictor) -> Comparison:
    return Comparison(cast("Any", None), "test", models, [predictor("bias", 0.5, 0.5, 0.5)], {})


def test_runs_that_differ_in_more_than_the_seed_stay_apart() -> None:
    runs = [run("a/seed-0", 0), run("b", 0, rate=0.1), run("a/seed-1", 1, workers=2), run("c", 7), run("left out", 8)]
    models = [predictor(one.name, 0.5, 0.5) for one in runs[:-1]]
    assert [group.seeds for group in seed_groups(compared(*models), runs)] == [[0, 1, 7]]
    assert seed_groups(compared(*models[:2]), runs) == []


def test_means_spreads_and_differences_by_hand() -> None:
    runs = [run("x/a/seed-0", 0), run("x/a/seed-1", 1), run("x/b/seed-0", 0, rate=0.1), run("x/b/seed-1", 1, rate=0.1)]
    values = [(0.7, 0.6, 0.8), (0.9, 0.8, 1.0), (0.6, 0.5, 0.5), (0.6, 0.7, 0.7)]
    comparison = compared(*(predictor(one.name, *found) for one, found in zip(runs, values, strict=True)))
    groups = seed_groups(comparison, runs)
    rows = spread_rows(groups)
    # 0.7 and 0.9: mean 0.8, standard deviation √(0.01 + 0.01) = 0.1414.
    assert [row[:3] for row in rows] == [
        ["mean of a", "2", MetricCell("0.8000", "± 0.1414", False)],
        ["mean of b", "2", MetricCell("0.6000", "± 0.0000", False)],
    ]
    (both, baseline), (others, first) = mean_pairs(groups, comparison)
    assert [one.name for one in both] == ["mean of a", "mean of b"]
    assert baseline.name == "bias"
    # Means of the resamples: a 0.7 and 0.9, b 0.6 and 0.6.
    assert both[0].estimates["auc"].resampled == pytest.approx([0.7, 0.9])
    assert difference_cells(others, first) == [["mean of b", MetricCell("−0.2000", "−0.2950 to −0.1050", True)]]
