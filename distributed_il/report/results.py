"""The parts of the page that say how good the models are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from distributed_il.evaluation.metric_columns import LOWER_IS_BETTER, METRICS, metric_text
from distributed_il.evaluation.metrics.bootstrap import RESAMPLES, Estimate
from distributed_il.report.html.charts import Interval, interval_chart, line_chart
from distributed_il.report.html.frame import Series
from distributed_il.report.html.html import Markup, details, figures, heading, joined, paragraph, table
from distributed_il.report.measurement import Comparison, Predictor
from distributed_il.report.slices import Slices

DRAWN = ("auc", "gauc", "ndcg@20", "logloss")
SPLITS = {"test": "test split", "valid": "validation split"}
TRIVIAL_STYLES = (7, 6)


def results(comparison: Comparison, styles: Mapping[str, int]) -> Markup:
    """Metrics with intervals, models above trivial predictors.

    Args:
        comparison: What was measured.
        styles: Style of each run's lines.
    """
    predictors = [*comparison.models, *comparison.trivial]
    metrics = comparison.models[0].metrics
    about = (
        f"{comparison.dataset.manifest.name}, {SPLITS[comparison.split]}: {metrics['rows']:,} rows of "
        f"{metrics['users']:,} users, {metrics['positives_share']:.1%} positive. {metrics['users_left_out']:,} users "
        "whose rows are all of one class count in AUC, log loss and ECE alone."
    )
    intervals = (
        f"Below each metric the middle 95 % of {RESAMPLES:,} bootstrap resamples, each of as many users, drawn with "
        "replacement with all their rows. ECE has no interval: its bins' gaps count without their sign, so resampling "
        "could only raise it."
    )
    parts = [paragraph(about), paragraph(intervals, "note"), _metric_table(predictors, len(comparison.models))]
    if comparison.split == "valid":
        parts.append(paragraph("These runs have not read the test split, and neither has this page.", "note"))
    styled = _styles(comparison, styles)
    parts.append(figures(*(_intervals(name, predictors, styled) for name in DRAWN)))
    bias = comparison.trivial[-1]
    parts += [heading(f"Difference to {bias.name}"), _differences(comparison.models, bias)]
    first, *others = comparison.models
    if others:
        parts += [heading(f"Difference to {first.name}"), _differences(others, first)]
    return joined(*parts)


def slices(comparison: Comparison, styles: Mapping[str, int]) -> Markup:
    """Metrics of rows by the activity of their user and of their item.

    Args:
        comparison: What was measured.
        styles: Style of each run's lines.
    """
    text = (
        "Rows in up to five groups of about equal size by how many training rows their user, or their item, has; an id "
        "that training never met has 0."
    )
    charts = [
        line_chart(
            f"{METRICS[metric]} by activity of the {kind}",
            [
                Series(
                    one.name,
                    range(len(groups.names)),
                    [float(part[metric]) for part in one.slices[kind]],
                    _styles(comparison, styles)[one.name],
                )
                for one in (*comparison.models, comparison.trivial[-1])
            ],
            x_label=f"training rows of the {kind}",
            x_names=groups.names,
        )
        for kind, groups in comparison.slices.items()
        for metric in ("auc", "gauc")
    ]
    tables = [_slice_table(kind, groups, comparison) for kind, groups in comparison.slices.items()]
    return joined(paragraph(text), figures(*charts), details("Metrics of all groups", joined(*tables)))


def _styles(comparison: Comparison, styles: Mapping[str, int]) -> dict[str, int]:
    names = [one.name for one in comparison.trivial]
    return {**styles, **dict(zip(names, TRIVIAL_STYLES, strict=True))}


def _metric_table(predictors: Sequence[Predictor], models: int) -> Markup:
    best: dict[str, float] = {}
    for name in METRICS:
        values = [float(one.metrics[name]) for one in predictors if math.isfinite(one.metrics[name])]
        best[name] = (min if name in LOWER_IS_BETTER else max)(values, default=math.nan)
    rows = [[one.name, *(_cell(one, name, best[name]) for name in METRICS)] for one in predictors]
    marked = range(models, len(predictors))
    return table(["", *METRICS.values()], rows, marked=marked)


def _cell(one: Predictor, name: str, best: float) -> Markup:
    value = float(one.metrics[name])
    text = f'<span class="best">{metric_text(value)}</span>' if value == best else metric_text(value)
    return Markup(text + (_range(one.estimates[name]) if name in one.estimates else ""))


def _range(estimate: Estimate, sign: str = "") -> str:
    low, high = estimate.interval()
    return "" if math.isnan(low) else f"<small>{metric_text(low, sign)} to {metric_text(high, sign)}</small>"


def _intervals(name: str, predictors: Sequence[Predictor], styles: Mapping[str, int]) -> Markup:
    drawn = [
        Interval(one.name, one.estimates[name].value, *one.estimates[name].interval(), styles[one.name])
        for one in predictors
        if math.isfinite(one.estimates[name].value)
    ]
    if not drawn:
        return Markup("")
    return interval_chart(METRICS[name] + (" (lower is better)" if name in LOWER_IS_BETTER else ""), drawn)


def _differences(models: Sequence[Predictor], other: Predictor) -> Markup:
    names = [name for name in METRICS if name in other.estimates]
    rows: list[list[str | Markup]] = []
    for model in models:
        row: list[str | Markup] = [model.name]
        for name in names:
            difference = model.estimates[name].less(other.estimates[name])
            low, high = difference.interval()
            text = metric_text(difference.value, "+")
            sure = low > 0 or high < 0
            row.append(Markup((f'<span class="best">{text}</span>' if sure else text) + _range(difference, "+")))
        rows.append(row)
    caption = "Resampled on the same users; bold where the interval leaves out 0."
    return table(["", *(METRICS[name] for name in names)], rows, caption=caption)


def _slice_table(kind: str, groups: Slices, comparison: Comparison) -> Markup:
    shown = ("auc", "gauc", "ndcg@20", "logloss")
    rows: list[list[str]] = []
    for group, name in enumerate(groups.names):
        for one in (*comparison.models, comparison.trivial[-1]):
            metrics: Mapping[str, Any] = one.slices[kind][group]
            counts = [f"{metrics['rows']:,}", f"{metrics['users']:,}", f"{metrics['positives_share']:.1%}"]
            rows.append([name, one.name, *counts, *(metric_text(metrics[key]) for key in shown)])
    columns = [f"rows of the {kind}", "predictor", "rows", "users", "positive", *(METRICS[key] for key in shown)]
    return table(columns, rows, caption=f"By activity of the {kind}", texts=2)
