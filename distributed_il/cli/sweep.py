"""`distributed-il sweep`: the best settings of a run, found by a validation metric."""

from __future__ import annotations

from collections.abc import Sequence

from distributed_il.cli.given import Given
from distributed_il.cli.options import Sections, read_options
from distributed_il.cli.output import metric_table, ranking_table
from distributed_il.cli.train import NAMES, belongs_to_method, for_the_data, train_sections
from distributed_il.core.config import TrainConfig, config_from_dict
from distributed_il.runtime.sweep.space import SweepConfig

ABOUT = (
    "Tries settings of a run on Ray Tune, drawn from the ranges in a file, each trial on one worker; those that fall "
    "behind are stopped early. The best one by run.select_by is tested, beside the one that the file puts first. "
    "All other settings are those of `train`; run.dir is the sweep's directory, with a run directory for each trial."
)


def read(argv: Sequence[str]) -> tuple[SweepConfig, TrainConfig]:
    """Returns the sweep, and the run that its trials share.

    Raises:
        UserError: A setting is unknown, missing or wrong.
    """

    def sections(given: Given) -> Sections:
        return {"sweep": SweepConfig, **train_sections(given)}

    values = read_options("sweep", ABOUT, argv, sections, belongs_to_method, NAMES)
    return SweepConfig(**values.pop("sweep")), config_from_dict(values)


def run(argv: Sequence[str]) -> None:
    """Runs a sweep and prints its trials, and the best one's test metrics beside the baselines.

    Raises:
        UserError: See `distributed_il.runtime.sweep.search.run_sweep`.
    """
    config, base = read(argv)
    base = for_the_data(base, argv, "sweep")
    from distributed_il.runtime.sweep.outcome import table_ends, trial_table
    from distributed_il.runtime.sweep.search import run_sweep
    from distributed_il.runtime.sweep.verdict import verdict

    outcome = run_sweep(config, base)
    trials, best = outcome.trials, outcome.best
    keys = list(dict.fromkeys(key for trial in trials for key in trial.settings))
    print(_aligned([["trial", *keys, *table_ends(best.selection)], *trial_table(trials, keys)]))
    print()
    print(metric_table("test", outcome.tested))
    print()
    print(ranking_table(f"trial {best.name}", outcome.ranking))
    print(f"\n{verdict(outcome)}")
    print(f"\nBest run: {best.config.run.dir} (metrics.json, config.yaml, checkpoints)")
    print(f"Page:     {base.run.dir}/sweep.html")


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
