"""The parts of the page that say how the runs went: curves, decisions, weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from distributed_il.evaluation.metric_columns import METRICS, metric_text
from distributed_il.report.html.charts import bar_chart, line_chart, scatter_chart, share_bar
from distributed_il.report.html.frame import Series
from distributed_il.report.html.html import Markup, details, figures, heading, joined, paragraph, table
from distributed_il.report.records import RunRecord
from distributed_il.training.monitor import WeightHistogram

CURVES = {
    "train_loss": "Training loss",
    "logloss": "Validation log loss",
    "auc": "Validation AUC",
    "gauc": "Validation GAUC",
}
MOST_MARKS, MEANS = 300, 50


def curves(records: Sequence[RunRecord], styles: Mapping[str, int]) -> Markup:
    """Losses and validation metrics by round.

    Args:
        records: The runs.
        styles: Style of each run's lines.
    """
    charts = [
        line_chart(
            title,
            [
                Series(
                    one.name,
                    [entry["round"] for entry in one.history],
                    [float(entry.get(key) or math.nan) for entry in one.history],
                    styles[one.name],
                )
                for one in records
            ],
            x_label="round",
        )
        for key, title in CURVES.items()
    ]
    text = (
        "The training loss is that of the labelled rows while they were trained on, so it lags behind the model; "
        "validation follows each round. The best round, by validation log loss, is the one that is measured above."
    )
    columns = ["run", "round", "step", "training loss", *(f"valid {name}" for name in METRICS.values())]
    rows = [
        [
            one.name,
            f"{entry['round']}{' (best)' if entry['round'] == one.best_round else ''}",
            f"{entry['step']:,}",
            metric_text(entry.get("train_loss")),
            *(metric_text(entry[key]) for key in METRICS),
        ]
        for one in records
        for entry in one.history
    ]
    return joined(paragraph(text), figures(*charts), details("All rounds", table(columns, rows)))


def decisions(records: Sequence[RunRecord]) -> Markup:
    """What the checks of Algorithm 1 decided.

    Args:
        records: The runs; those without decisions are passed over.
    """
    deciding = [one for one in records if one.decisions.total]
    if not deciding:
        return Markup("")
    text = (
        "At each step of the training-test pass the inverse dual loss of unlabelled pairs proposes an update: it is "
        "taken (direct), left out (skip) or turned round (inverse), whichever leaves the lowest loss on labelled rows."
    )
    parts = [paragraph(text)]
    for one in deciding:
        shares = share_bar(f"{one.decisions.total:,} decisions", one.decisions.shares())
        parts += [heading(one.name), figures(shares, _decision_curve(one))]
    return joined(*parts)


def weights(records: Sequence[RunRecord]) -> Markup:
    """How the unlabelled pairs were annotated.

    Args:
        records: The runs; those without unlabelled pairs are passed over.
    """
    annotating = [one for one in records if one.first_weights.total]
    if not annotating:
        return Markup("")
    text = (
        "w1 is the weight that label 1 gets in the inverse dual loss of an unlabelled pair, "
        "w0\u00a0=\u00a01\u00a0−\u00a0w1 that of label 0: near 0 and 1 the model is sure, at ½ it knows nothing."
    )
    parts = [paragraph(text)]
    for one in annotating:
        rounds = (("First round", one.first_weights), ("Last round", one.weights))
        parts += [heading(one.name), figures(*(_weight_bars(title, histogram) for title, histogram in rounds))]
    return joined(*parts)


def _weight_bars(title: str, histogram: WeightHistogram) -> Markup:
    if not histogram.total:
        return Markup("")
    shares = histogram.counts / histogram.total
    above = float(shares[histogram.edges[:-1] >= 0.5].sum())
    note = f"{histogram.total:,} pairs, {above:.1%} of them at ½ or above"
    return bar_chart(title, histogram.edges.tolist(), shares.tolist(), x_label="w1, weight of label 1", note=note)


def _decision_curve(one: RunRecord) -> Markup:
    steps, losses, choices = one.decisions.curve()
    groups: list[Series] = []
    for code, name in enumerate(one.decisions.shares()):
        places = np.flatnonzero(choices == code)
        if places.size > MOST_MARKS:
            places = places[np.linspace(0, places.size - 1, MOST_MARKS).astype(np.int64)]
        groups.append(Series(name, steps[places].tolist(), losses[places].tolist(), code))
    parts = [part for part in np.array_split(np.arange(steps.size), MEANS) if part.size]
    means = Series(
        "mean of neighbours",
        [float(steps[part].mean()) for part in parts],
        [float(losses[part].mean()) for part in parts],
        0,
    )
    note = f"The line joins means of neighbours; of each decision at most {MOST_MARKS} are marked, evenly spread."
    title = "Training-test loss of the chosen update"
    return scatter_chart(title, groups, x_label="optimiser step", line=means, note=note)
