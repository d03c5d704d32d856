"""What a page of runs has found, in a few sentences above everything else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from distributed_il.evaluation.metric_columns import METRICS, metric_text, predictor_name
from distributed_il.evaluation.metrics.bootstrap import Estimate
from distributed_il.evaluation.selection import RANKING
from distributed_il.report.measurement import Comparison, Predictor
from distributed_il.report.records import RunRecord
from distributed_il.report.results import SHOWN

_RANKED = "ndcg@20"


def finding(comparison: Comparison, runs: Sequence[RunRecord]) -> str:
    """Says which model is the best on some rows, and what it has over the baseline and over the next one.

    Args:
        comparison: What was measured on the rows.
        runs: All runs of the page.
    """
    ranked = [one for one in comparison.models if math.isfinite(one.estimates["auc"].value)]
    if not ranked:
        return " ".join(_rankings(comparison, runs)) or f"No metric is defined on these rows of {comparison.place}."
    best, *others = sorted(ranked, key=lambda one: -one.estimates["auc"].value)
    among = f", the highest of {len(ranked)} runs" if others else ""
    baseline = comparison.baselines[-1]
    told = [f"{best.name} has AUC {_with_interval(best.estimates['auc'])}{among}."]
    told.append(f"That is {_apart(best, baseline, f'{baseline.name}, the better baseline')}.")
    if others:
        told.append(f"It is {_apart(best, others[0], f'{others[0].name}, the next run')}.")
    return " ".join([*told, *_rankings(comparison, [run for run in runs if run.name == best.name])])


def best_numbers(comparison: Comparison) -> list[tuple[str, str]]:
    """Returns metrics of the model of highest AUC, each as text with its heading."""
    best = max(comparison.models, key=lambda one: (math.isfinite(auc := one.estimates["auc"].value), auc))
    return [
        (metric_text(best.estimates[name].value), METRICS[name])
        for name in SHOWN
        if math.isfinite(best.estimates[name].value)
    ]


def _rankings(comparison: Comparison, runs: Sequence[RunRecord]) -> list[str]:
    names = [one.name for one in comparison.models]
    told: list[str] = []
    for run in runs:
        found = (run.results or {}).get(RANKING, {})
        if run.name in names and found.get(_RANKED) is not None:
            trivial = found["trivial"].items()
            others = [f"{metric_text(one.get(_RANKED))} of {predictor_name(name)}" for name, one in trivial]
            beside = f", beside {' and '.join(others)}" if others else ""
            told.append(f"Ranking all unseen items, {run.name} has NDCG@20 {metric_text(found[_RANKED])}{beside}.")
    return told


def _apart(model: Predictor, other: Predictor, called: str) -> str:
    difference = model.estimates["auc"].less(other.estimates["auc"])
    low, high = difference.interval()
    side = "above" if difference.value >= 0 else "below"
    size = metric_text(abs(difference.value))
    chance = "; with other users it could be none" if low <= 0 <= high else ""
    return f"{size} {side} {called} ({metric_text(low, '+')} to {metric_text(high, '+')}{chance})"


def _with_interval(estimate: Estimate) -> str:
    low, high = estimate.interval()
    return f"{metric_text(estimate.value)} ({metric_text(low)} to {metric_text(high)})"
