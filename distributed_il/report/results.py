"""How good the models are: metrics with their intervals, differences, and metrics by activity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distributed_il.core.charts import Interval, Series, interval_chart, line_chart
from distributed_il.core.drawing import Chart
from distributed_il.evaluation.metric_columns import LOWER_IS_BETTER, METRICS, metric_text, ranking_note, ranking_rows
from distributed_il.evaluation.metrics.bootstrap import Estimate
from distributed_il.evaluation.selection import RANKING
from distributed_il.report.measurement import Comparison, Predictor
from distributed_il.report.records import RunRecord

SHOWN = ("auc", "gauc", "ndcg@20", "logloss")
"""Metrics that are drawn, and those of groups of rows."""
BASELINE_STYLES = (7, 6)
FEWEST_USERS = 30
"""Below that many users a group of rows is not drawn: their metrics tell of these users, not of the group."""


class MetricCell(NamedTuple):
    """A metric in a table."""

    text: str
    interval: str
    bold: bool


def metric_cells(predictors: Sequence[Predictor]) -> list[list[str | MetricCell]]:
    """Lays out metrics: a row for each predictor, the best of each metric bold."""
    best = {
        name: (min if name in LOWER_IS_BETTER else max)(
            (float(one.metrics[name]) for one in predictors if math.isfinite(one.metrics[name])), default=math.nan
        )
        for name in METRICS
    }
    return [
        [
            one.name,
            *(
                MetricCell(metric_text(value), _range(one.estimates.get(name)), value == best[name])
                for name, value in ((name, float(one.metrics[name])) for name in METRICS)
            ),
        ]
        for one in predictors
    ]


def rankings(runs: Sequence[RunRecord]) -> list[tuple[str, list[list[str]], str]]:
    """Lays out the rankings of unseen items that runs have measured at their ends.

    Returns:
        Of each run that has some: its name; a row for each predictor and k, below one of headings; whose they are.
    """
    found: list[tuple[str, list[list[str]], str]] = []
    for run in runs:
        ranking = (run.results or {}).get(RANKING)
        if ranking is not None:
            rows = ranking_rows({run.name: ranking, **ranking["trivial"]})
            found.append((run.name, rows, ranking_note(ranking)))
    return found


def interval_charts(comparison: Comparison, styles: Mapping[str, int]) -> list[Chart | None]:
    """Draws the metrics that matter most, each with all predictors one under the other, each run in its style."""
    styles = _all_styles(comparison, styles)
    return [
        interval_chart(
            METRICS[name] + (" (lower is better)" if name in LOWER_IS_BETTER else ""),
            [
                Interval(one.name, one.estimates[name].value, *one.estimates[name].interval(), styles[one.name])
                for one in comparison.predictors
                if math.isfinite(one.estimates[name].value)
            ],
        )
        for name in SHOWN
    ]


def pairs(comparison: Comparison) -> list[tuple[Sequence[Predictor], Predictor]]:
    """Returns which predictors are compared with which: models with the better baseline, and with the first model."""
    first, *others = comparison.models
    return [(comparison.models, comparison.baselines[-1]), *([(others, first)] if others else [])]


def headings(other: Predictor) -> list[str]:
    """Returns the headings of `difference_cells`."""
    return [heading for name, heading in METRICS.items() if name in other.estimates]


def difference_cells(models: Sequence[Predictor], other: Predictor) -> list[list[str | MetricCell]]:
    """Lays out differences of models to another predictor, bold where the interval leaves out 0."""
    rows: list[list[str | MetricCell]] = []
    for model in models:
        row: list[str | MetricCell] = [model.name]
        for name in METRICS:
            if name in other.estimates:
                difference = model.estimates[name].less(other.estimates[name])
                low, high = difference.interval()
                row.append(MetricCell(metric_text(difference.value, "+"), _range(difference, "+"), low > 0 or high < 0))
        rows.append(row)
    return rows


def slice_charts(comparison: Comparison, styles: Mapping[str, int]) -> list[Chart | None]:
    """Draws metrics of rows by the activity of their user and of their item, each run in its style.

    Below each group stands how many users its metric is of; where they are too few there is a gap.
    """
    styles = _all_styles(comparison, styles)
    note = f"A group of fewer than {FEWEST_USERS} users is left out."
    return [
        line_chart(
            f"{METRICS[name]} by activity of the {kind}",
            [
                Series(
                    one.name,
                    range(len(groups.names)),
                    [
                        float(group[name]) if _users_of(name, group) >= FEWEST_USERS else math.nan
                        for group in one.slices[kind]
                    ],
                    styles[one.name],
                )
                for one in (*comparison.models, comparison.baselines[-1])
            ],
            x_label=f"training rows of the {kind}",
            x_names=[
                f"{group}\n{_users_of(name, metrics):,} users"
                for group, metrics in zip(groups.names, comparison.baselines[-1].slices[kind], strict=True)
            ],
            note=note,
        )
        for kind, groups in comparison.slices.items()
        for name in ("auc", "gauc")
    ]


def slice_rows(comparison: Comparison, kind: str) -> list[list[str]]:
    """Lays out metrics of the groups of one kind, for the models and the better baseline."""
    rows: list[list[str]] = []
    for group, name in enumerate(comparison.slices[kind].names):
        for one in (*comparison.models, comparison.baselines[-1]):
            metrics = one.slices[kind][group]
            counts = [f"{metrics['rows']:,}", f"{metrics['users']:,}", f"{metrics['positives_share']:.1%}"]
            rows.append([name, one.name, *counts, *(metric_text(metrics[key]) for key in SHOWN)])
    return rows


def small_groups(comparison: Comparison, kind: str) -> list[int]:
    """Returns the rows of `slice_rows` whose group has too few users."""
    predictors = (*comparison.models, comparison.baselines[-1])
    few = [metrics["users"] < FEWEST_USERS for metrics in comparison.baselines[-1].slices[kind]]
    return [row for row in range(len(few) * len(predictors)) if few[row // len(predictors)]]


def _users_of(name: str, metrics: Mapping[str, Any]) -> int:
    """How many users a metric of a group is of: of a mean over users those with both classes."""
    return metrics["users"] - (metrics["users_left_out"] if name == "gauc" else 0)


def _all_styles(comparison: Comparison, styles: Mapping[str, int]) -> dict[str, int]:
    names = [one.name for one in comparison.baselines]
    return {**styles, **dict(zip(names, BASELINE_STYLES, strict=True))}


def _range(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return ""
    low, high = estimate.interval()
    return "" if math.isnan(low) else f"{metric_text(low, sign)} to {metric_text(high, sign)}"
