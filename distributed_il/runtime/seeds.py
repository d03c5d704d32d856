"""Trains one configuration with several seeds, one after the other on one Ray."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from distributed_il.core.config import TrainConfig
from distributed_il.runtime.early_start import start_runs
from distributed_il.runtime.opening import open_run
from distributed_il.runtime.paths import with_absolute_paths
from distributed_il.runtime.run_directory import check_seeds_dir
from distributed_il.training.checkpoint_names import last_checkpoint
from distributed_il.training.seeds import seed_runs, write_seeds


def train_seeds(config: TrainConfig) -> dict[int, dict[str, Any]]:
    """Trains the runs of `run.seeds`, each as `start_run` would, and writes what they come to together.

    The same call goes on where it was stopped: runs that have come to their ends are only read.

    Returns:
        What metrics.json holds, by seed.

    Raises:
        UserError: `run.dir` holds something else; and as `open_run` and `launch`.
    """
    config = with_absolute_paths(config)
    check_seeds_dir(config)
    runs = seed_runs(config)
    results = {seed: finished for seed, run in runs.items() if (finished := _finished(run)) is not None}
    left = {seed: run for seed, run in runs.items() if seed not in results}

    def opened() -> Iterator[TrainConfig]:
        for run in left.values():
            open_run(run)
            yield run

    for seed, result in zip(left, start_runs(opened()), strict=True):
        results[seed] = result
    results = {seed: results[seed] for seed in runs}
    write_seeds(config.run.dir, results)
    return results


def _finished(config: TrainConfig) -> dict[str, Any] | None:
    """Returns what a run has written at its end; None where it has not come to that.

    Raises:
        UserError: It was trained with other settings.
    """
    if last_checkpoint(config.run.dir) is None:
        return None
    # Imported where there is something to read: torch comes with it, which a new run imports while Ray starts.
    from distributed_il.runtime.preflight import check_run
    from distributed_il.training.checkpoint import CheckpointStore
    from distributed_il.training.run_outputs import read_metrics
    from distributed_il.training.run_state import read_facts

    check_run(config)
    manifest = CheckpointStore(config.run.dir).manifest("last")
    assert manifest is not None
    state, results = read_facts(manifest)[0], read_metrics(config.run.dir, manifest)
    # A run that was given more rounds may have been stopped between the last of them and its new results.
    whole = results is not None and len(results["history"]) == state.round
    return results if whole and state.finished(config.run) else None
