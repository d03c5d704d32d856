"""Runs that differ in nothing but their seed: where they lie, and what they come to together."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pyarrow import fs as pafs

from distributed_il.core.config import TrainConfig
from distributed_il.core.files import filesystem, plain_values, to_json, write_run_file
from distributed_il.evaluation.metric_columns import METRICS
from distributed_il.evaluation.selection import RANKING

SEEDS_FILE = "seeds.json"
_DIRECTORY = re.compile(r"seed-(\d+)")


def seed_runs(config: TrainConfig) -> dict[int, TrainConfig]:
    """Returns the runs of a configuration with `run.seeds`, by seed, each with a directory below `run.dir`."""
    run = config.run
    return {
        seed: dataclasses.replace(
            config, run=dataclasses.replace(run, seed=seed, seeds=1, dir=f"{run.dir.rstrip('/')}/seed-{seed}")
        )
        for seed in range(run.seed, run.seed + run.seeds)
    }


def seed_dirs(run_dir: str) -> list[str]:
    """Returns the directories of the runs of several seeds below one; none where it holds something else."""
    fs, root = filesystem(run_dir)
    if fs.get_file_info(root).type != pafs.FileType.Directory:
        return []
    names = (entry.base_name for entry in fs.get_file_info(pafs.FileSelector(root)))
    seeds = sorted(int(found[1]) for name in names if (found := _DIRECTORY.fullmatch(name)))
    return [f"{run_dir.rstrip('/')}/seed-{seed}" for seed in seeds]


@dataclasses.dataclass(frozen=True, slots=True)
class OverSeeds:
    """Metrics of runs that were measured on the same rows.

    Attributes:
        means: Of each metric, NaN where a run does not define it; and how many rows and users they are of.
        deviations: Sample standard deviation of each metric.
    """

    means: dict[str, Any]
    deviations: dict[str, float]

    @classmethod
    def of(cls, metrics: Sequence[Mapping[str, Any]]) -> OverSeeds:
        """Takes the metrics of two runs or more; what is whole, such as a count, is taken of the first."""
        means: dict[str, Any] = {}
        deviations: dict[str, float] = {}
        for name, value in metrics[0].items():
            if isinstance(value, Mapping):
                continue
            if isinstance(value, int):
                means[name] = value
                continue
            values = np.array([np.nan if one[name] is None else one[name] for one in metrics], dtype=np.float64)
            means[name], deviations[name] = float(values.mean()), float(values.std(ddof=1))
        return cls(means, deviations)


def over_seeds(results: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what the runs of several seeds come to.

    Args:
        results: What metrics.json holds, by seed.

    Returns:
        `seeds`; and of `valid`, `test` and `ranking` the `mean` and the `sd` of each metric.
    """
    found: dict[str, Any] = {"seeds": list(results)}
    for part in ("valid", "test", RANKING):
        together = OverSeeds.of([result[part] for result in results.values()])
        found[part] = {"mean": together.means, "sd": together.deviations}
    return found


def write_seeds(run_dir: str, results: Mapping[int, Mapping[str, Any]]) -> None:
    """Writes what `over_seeds` returns as seeds.json into the directory that the runs lie in."""
    write_run_file(run_dir, SEEDS_FILE, to_json(plain_values(over_seeds(results))))


def seed_lines(results: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the rows of a table of test metrics: mean, standard deviation, then each seed's own.

    Args:
        results: What metrics.json holds, by seed.
    """
    together = OverSeeds.of([result["test"] for result in results.values()])
    alone = {f"seed {seed}": {key: result["test"].get(key) for key in METRICS} for seed, result in results.items()}
    return {f"mean of {len(results)} seeds": together.means, "standard deviation": together.deviations, **alone}
