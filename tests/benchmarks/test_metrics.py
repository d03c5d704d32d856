from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import benchmarks.metrics
from benchmarks.metrics import Plan, Rows, errors, measure, simulated_rows, tied
from distributed_il.evaluation.metrics import UserTies

TINY = Plan(rows=3_000, num_users=40, checked_users=40, repeats=2)
ERRORS = ["auc", "log_loss", "user_auc", "ndcg@10", "ndcg@20"]


def test_rows_with_ties_have_few_scores_and_the_others_hardly_any_twice() -> None:
    rows = simulated_rows(TINY)
    assert np.unique(rows.logits).size > 2_900
    assert np.unique(tied(rows).logits).size < 120
    assert set(rows.labels.tolist()) == {0, 1}


def test_all_figures_of_a_tiny_plan() -> None:
    figures = measure(TINY)
    times = ["metrics_0.003m_rows_s", "metrics_0.003m_rows_tied_s", "sklearn_auc_and_log_loss_over_all_of_ours"]
    assert list(figures) == times + [f"{name}_error_against_sklearn" for name in ERRORS]
    assert all(len(figures[name].repeats) == 2 and figures[name].median > 0 for name in times)
    assert all(figures[f"{name}_error_against_sklearn"].met for name in ERRORS)


@pytest.mark.parametrize("name", ["user_auc", "user_ndcg"])
def test_a_metric_that_is_wrong_for_one_user_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right: Callable[..., NDArray[np.float64]] = getattr(benchmarks.metrics, name)

    def wrong(ties: UserTies, *cutoff: int) -> NDArray[np.float64]:
        values = right(ties, *cutoff)
        values[7] += 0.25
        return values

    monkeypatch.setattr(benchmarks.metrics, name, wrong)
    found = errors(tied(simulated_rows(TINY)), checked_users=40)
    changed = ["user_auc"] if name == "user_auc" else ["ndcg@10", "ndcg@20"]
    for metric in ERRORS:
        assert found[metric] == pytest.approx(0.25 if metric in changed else 0.0, abs=1e-12)


def test_a_metric_that_is_wrong_over_all_rows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.metrics, "compute_metrics", lambda *_: {"auc": 0.0, "logloss": 0.0})
    # Both rows of the user are right by a wide margin: AUC 1 and log loss log(1 + e⁻²).
    rows = Rows(np.zeros(2, dtype=np.int64), np.array([2.0, -2.0], dtype=np.float32), np.array([1, 0]))
    found = errors(rows, checked_users=1)
    assert found["auc"] == 1.0
    assert found["log_loss"] == pytest.approx(np.log1p(np.exp(-2.0)))
    assert found["user_auc"] == found["ndcg@10"] == 0.0
