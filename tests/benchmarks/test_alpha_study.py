"""The study of α counts decisions and draws a chart for each α."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.image import imread

from benchmarks.alpha_study import Plan, Trained, draw, ends, simulated, table, train
from distributed_il.training.monitor.histories import DecisionHistory

SIZES = {"num_users": 60, "num_items": 80, "num_positives": 300, "num_negatives": 250, "num_unclear": 200}


def test_each_inverse_step_is_counted_and_every_alpha_has_a_chart(tmp_path: Path) -> None:
    plan = Plan(log=SIZES, rounds=1)
    dataset = simulated(plan, str(tmp_path / "data"))
    runs = {multiple: train(plan, dataset, str(tmp_path / f"{multiple:g}"), multiple) for multiple in (1.0, 100.0)}
    for run in runs.values():
        assert run.decisions.total == 1  # a tenth of the training rows is a batch
        assert len(run.valid) == 1
    draw(runs, tmp_path / "figure.png")
    draw({**runs, 50.0: runs[1.0], 10.0: runs[100.0]}, tmp_path / "two_rows.png")
    one, two = (imread(tmp_path / name).shape for name in ("figure.png", "two_rows.png"))
    assert (two[0], two[1]) == (2 * one[0], one[1])
    assert [line.split(" | ")[0] for line in table(runs).splitlines()[2:]] == ["| 1", "| 100"]


def test_the_ends_of_a_curve_by_hand() -> None:
    decisions = DecisionHistory()
    for step in range(20):
        decisions.append(step, step % 3, (float(step), float(step), float(step)))
    assert ends(decisions) == (0.5, 18.5)
    assert "| 2 | 35.0% | 35.0% | 30.0% | 0.5000 | 18.5000 | 0.7000 |" in table(
        {2.0: Trained(decisions, [0.7], {"auc": 0.5, "gauc": 0.5, "logloss": 0.7})}
    )


def test_a_short_curve_is_its_own_beginning_and_end() -> None:
    decisions = DecisionHistory()
    decisions.append(1, 0, (0.25, 0.5, 0.75))
    assert ends(decisions) == pytest.approx((0.25, 0.25))
