"""How the runs went: curves by round, decisions, weights of unlabelled pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from distributed_il.core.charts import Series, line_chart, share_bar
from distributed_il.core.drawing import Chart
from distributed_il.evaluation.metric_columns import METRICS, metric_text
from distributed_il.report.records import RunRecord
from distributed_il.training.monitor.figures import STYLES, decision_chart, weight_chart

CURVES = {
    "train_loss": "Training loss",
    "logloss": "Validation log loss",
    "calibrated_logloss": "Validation log loss, calibrated",
    "auc": "Validation AUC",
    "gauc": "Validation GAUC",
}


def round_charts(runs: Sequence[RunRecord], styles: Mapping[str, int]) -> list[Chart | None]:
    """Draws losses and validation metrics by round, each run in its style."""

    def series(one: RunRecord, key: str) -> Series:
        rounds = [entry["round"] for entry in one.history]
        return Series(one.name, rounds, [float(entry.get(key) or math.nan) for entry in one.history], styles[one.name])

    return [line_chart(title, [series(one, key) for one in runs], x_label="round") for key, title in CURVES.items()]


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
    shares = share_bar(f"{run.decisions.total:,} decisions", run.decisions.shares(), styles=list(STYLES.values()))
    return [shares, decision_chart(run.decisions)]


def weight_charts(run: RunRecord) -> list[Chart]:
    """Draws how the unlabelled pairs were annotated in the first and in the last round."""
    rounds = {"First round": run.first_weights, "Last round": run.weights}
    return [weight_chart(title, histogram) for title, histogram in rounds.items() if histogram.total]
