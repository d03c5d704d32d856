"""How the runs went: curves by round, decisions, weights of unlabelled pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distributed_il.core.charts import Series, line_chart, share_bar
from distributed_il.core.drawing import Chart
from distributed_il.evaluation.metric_columns import METRICS, metric_text, ranking_heading
from distributed_il.evaluation.selection import RANKING
from distributed_il.report.records import RunRecord
from distributed_il.training.monitor.figures import STYLES, decision_chart, weight_chart

CURVES = {
    "train_loss": "Training loss",
    "logloss": "Validation log loss",
    "calibrated_logloss": "Validation log loss, calibrated",
    "auc": "Validation AUC",
    "gauc": "Validation GAUC",
    "ndcg@20": "Validation NDCG@20",
}


def round_charts(runs: Sequence[RunRecord], styles: Mapping[str, int]) -> list[Chart | None]:
    """Draws losses and validation metrics by round, each run in its style."""

    def chart(title: str, value: Callable[[Mapping[str, Any]], float | None]) -> Chart | None:
        series = [
            Series(
                one.name,
                [entry["round"] for entry in one.history],
                [math.nan if (found := value(entry)) is None else float(found) for entry in one.history],
                styles[one.name],
            )
            for one in runs
        ]
        return line_chart(title, series, x_label="round")

    def of_ranking(key: str) -> Chart | None:
        title = f"Validation {ranking_heading(key)} of unseen items"
        return chart(title, lambda entry: entry.get(RANKING, {}).get(key))

    ranked = dict.fromkeys(key for one in runs for entry in one.history for key in entry.get(RANKING, {}))
    return [
        *(chart(title, lambda entry, key=key: entry.get(key)) for key, title in CURVES.items()),
        *(of_ranking(key) for key in ranked if key.startswith(("recall@", "ndcg@"))),
    ]


def round_rows(runs: Sequence[RunRecord]) -> list[list[str]]:
    """Lays out all rounds: run, round, step, training loss and the validation metrics."""
    return [
        [
            one.name,
            f"{entry['round']}{' (best)' if entry['round'] == one.best_round else ''}",
            f"{entry['step']:,}",
            metric_text(entry.get("train_loss")),
            *(metric_text(entry[key]) for key in METRICS),
        ]
        for one in runs
        for entry in one.history
    ]


def decision_charts(run: RunRecord) -> list[Chart]:
    """Draws what the checks of Algorithm 1 decided: shares, and the loss of each step's winner."""
    shares = run.decisions.shares()
    bar = share_bar(f"{run.decisions.total:,} decisions", shares, styles=[STYLES[name] for name in shares])
    return [bar, decision_chart(run.decisions)]


def weight_charts(run: RunRecord) -> list[Chart]:
    """Draws how the unlabelled pairs were annotated in the first and in the last round."""
    rounds = {"First round": run.first_weights, "Last round": run.weights}
    return [weight_chart(title, histogram) for title, histogram in rounds.items() if histogram.total]
