"""Runs that differ in their seed alone, taken together: mean and spread over seeds, and means compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distributed_il.evaluation.metric_columns import METRICS, metric_text
from distributed_il.evaluation.metrics.bootstrap import Estimate
from distributed_il.report.measurement import Comparison, Predictor
from distributed_il.report.records import RunRecord
from distributed_il.report.results import MetricCell
from distributed_il.training.resume import FREE_TO_CHANGE
from distributed_il.training.seeds import OverSeeds


@dataclass(frozen=True, eq=False, slots=True)
class SeedGroup:
    """Two runs or more of one configuration, measured on the same rows.

    Attributes:
        mean: Their metrics and what these come to in each resample of users, averaged over the runs.
        over_seeds: Means and standard deviations.
        seeds: Of each run.
    """

    mean: Predictor
    over_seeds: OverSeeds
    seeds: Sequence[int]


def seed_groups(comparison: Comparison, runs: Sequence[RunRecord]) -> list[SeedGroup]:
    """Returns the groups among runs that were measured together, in their order."""
    models = {model.name: model for model in comparison.models}
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        if run.name in models:
            found.setdefault(_configuration(run), []).append(run)
    return [_group(members, [models[run.name] for run in members]) for members in found.values() if members[1:]]


def spread_rows(groups: Sequence[SeedGroup]) -> list[list[str | MetricCell]]:
    """Lays out groups: name, number of seeds, and of each metric the mean with the standard deviation."""
    return [
        [
            group.mean.name,
            f"{len(group.seeds)}",
            *(
                MetricCell(metric_text(group.over_seeds.means[key]), f"± {metric_text(deviation)}", False)
                for key, deviation in ((key, group.over_seeds.deviations[key]) for key in METRICS)
            ),
        ]
        for group in groups
    ]


def mean_pairs(groups: Sequence[SeedGroup], comparison: Comparison) -> list[tuple[Sequence[Predictor], Predictor]]:
    """Returns which means are compared with which: all with the better baseline, and with the first."""
    if not groups:
        return []
    first, *others = [group.mean for group in groups]
    return [([first, *others], comparison.baselines[-1]), *([(others, first)] if others else [])]


def _configuration(run: RunRecord) -> str:
    """What the results of a run follow from, its seed apart."""
    free = FREE_TO_CHANGE | {"run.seed"}
    return repr(sorted((key, repr(value)) for key, value in run.settings.items() if key not in free))


def _group(runs: Sequence[RunRecord], models: Sequence[Predictor]) -> SeedGroup:
    over_seeds = OverSeeds.of([{key: float(model.metrics[key]) for key in METRICS} for model in models])
    estimates = {
        key: Estimate(
            float(np.mean([model.estimates[key].value for model in models])),
            np.mean([model.estimates[key].resampled for model in models], axis=0),
        )
        for key in models[0].estimates
    }
    parents = {run.run_dir.rstrip("/").rpartition("/")[0].rpartition("/")[2] for run in runs}
    name = parents.pop() if len(parents) == 1 else ""
    mean = Predictor(f"mean of {name or ', '.join(run.name for run in runs)}", over_seeds.means, estimates, {})
    return SeedGroup(mean, over_seeds, [int(run.settings["run.seed"]) for run in runs])
