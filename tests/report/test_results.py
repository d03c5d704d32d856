"""Groups of rows on a page, and the colours of decisions, against made-up runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from distributed_il.report.curves import decision_charts
from distributed_il.report.measurement import Comparison, Predictor
from distributed_il.report.records import RunRecord
from distributed_il.report.results import slice_charts, small_groups
from distributed_il.report.slices import Slices
from distributed_il.training.monitor import DecisionHistory, WeightHistogram
from distributed_il.training.monitor.figures import decision_chart


def comparison(*groups: tuple[str, int, int]) -> Comparison:
    """A run and two baselines on groups of users: name, users, and users of one class alone."""
    parts: list[dict[str, Any]] = [
        {"rows": 9, "users": users, "users_left_out": left_out, "auc": 0.5 + place / 10, "gauc": 0.6 + place / 10}
        for place, (_, users, left_out) in enumerate(groups)
    ]
    predictors = [Predictor(name, {}, {}, {"user": parts}) for name in ("run", "item mean", "user + item bias")]
    slices = {"user": Slices([name for name, *_ in groups], np.zeros(0, dtype=np.int64))}
    dataset: Any = None
    return Comparison(dataset, "test", predictors[:1], predictors[1:], slices)


def test_groups_of_few_users_are_not_drawn_and_set_off() -> None:
    found = comparison(("0", 29, 0), ("1–4", 30, 0), ("5–9", 1_200, 1_171))
    auc, gauc = slice_charts(found, {"run": 0})
    assert auc is not None
    assert gauc is not None
    # A mean over users is of those with both classes: 30, and in the last group 29.
    assert "run from 0.6 to 0.7" in auc.words
    assert "run from 0.7 to 0.7" in gauc.words
    assert all(count in auc.svg() for count in ("29 users", "30 users", "1,200 users"))
    assert "29 users" in gauc.svg()
    assert auc.note == "A group of fewer than 30 users is left out."
    assert small_groups(found, "user") == [0, 1]  # the run's row and the better baseline's


def test_a_decision_has_one_colour_wherever_it_is_shown() -> None:
    decisions = DecisionHistory()
    for step, choice in enumerate((0, 0, 1, 2)):
        decisions.append(step, choice, (0.5, 0.6, 0.7))
    weights = WeightHistogram()
    bar, curve = decision_charts(RunRecord("a", "a", {}, [], decisions, weights, weights, None))
    shown = decision_chart(decisions)  # what TensorBoard has
    colours = [{key.name.split()[0]: key.colour for key in chart.legend} for chart in (bar, curve, shown)]
    assert colours[0] == colours[1] == colours[2]
    assert len(set(colours[0].values())) == 3
