"""Draws trials, runs them on Ray Tune, chooses one by a validation metric and tests it."""

from __future__ import annotations

from distributed_il.runtime.session import ray_session  # isort: skip  # before Ray

import dataclasses
import sys
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from distributed_il.core.config import TrainConfig, config_to_dict
from distributed_il.core.errors import UserError
from distributed_il.core.files import read_run_file, to_json, write_run_file
from distributed_il.data.dataset import Dataset, filesystem
from distributed_il.evaluation.selection import Selection
from distributed_il.runtime.capacity import worker_resources
from distributed_il.runtime.environment import environment
from distributed_il.runtime.paths import with_absolute_paths
from distributed_il.runtime.preflight import check_cluster, check_run
from distributed_il.runtime.sweep.data_limits import DataLimits
from distributed_il.runtime.sweep.draw import draw, with_settings
from distributed_il.runtime.sweep.outcome import Outcome, best_of, read_trial
from distributed_il.runtime.sweep.space import Settings, Space, SweepConfig, read_space
from distributed_il.runtime.sweep.sweep_page import render_sweep
from distributed_il.runtime.sweep.trial import FAILED, ROUND, VALUE, finish_run, run_trial
from distributed_il.runtime.sweep.verdict import verdict
from distributed_il.training.feedback import about_feedback, resolve_feedback
from distributed_il.training.run_claim import RunClaim, claim_run

ATTEMPTS = 3
"""How often a trial whose node is lost resumes elsewhere."""
_TUNE = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the newer output is not silent when it is told to be
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # trials have TensorBoard files of their own
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the sweep like any command
}


def run_sweep(config: SweepConfig, base: TrainConfig) -> Outcome:
    """Runs a sweep to its end; the same call resumes one that was stopped, and with more trials extends it.

    A trial is a run with one worker and the global batch of the base, so it computes what more workers would. It lies
    in `run.dir`/trials, a run directory like any other; `run.seed` draws the trials too. What the data rule out is not
    tried. A trial that the space puts first is trained to its end, like the best one, and tested beside it.

    Raises:
        UserError: A setting, file or resource is not as it must be, or no trial has a model.
    """
    if base.run.seeds > 1:
        raise UserError(f"run.seeds is {base.run.seeds}, but a trial is one run; set it to 1, and train the winner so")
    base = with_absolute_paths(base)
    dataset = Dataset.open(base.data.path)
    base = resolve_feedback(base, dataset)
    if (about := about_feedback(base, dataset)) is not None:
        _say(about)
    space = read_space(config.space, base)
    limits = DataLimits(dataset, space, base)
    drawn = draw(space, base, trials=config.trials, possible=limits.allow)
    for reason in limits.reasons:
        _say(f"not tried: {reason}")
    if base.run.max_rounds <= config.grace_rounds:
        _say(
            f"no trial will be stopped early: run.max_rounds is {base.run.max_rounds}, the grace {config.grace_rounds}"
        )
    if len(drawn) < config.trials:
        _say(f"the space holds only {len(drawn)} different settings, so there are no more trials than that")
    runs = {f"{number:03d}": _run_of(base, settings, f"{number:03d}") for number, settings in enumerate(drawn)}
    datasets = [check_run(run) for run in runs.values()]
    with (
        claim_run(base.run.dir, take_over=base.run.take_over) as claim,
        environment(_TUNE),
        ray_session(cpus=base.run.threads_per_worker),
    ):
        check_cluster(base, datasets[0])
        _run_trials(config, base, runs, claim)
        trials = [read_trial(name, settings, run) for (name, run), settings in zip(runs.items(), drawn, strict=True)]
        best = best_of(trials)
        superlative = f"{best.selection.superlative} validation {best.selection.name}"
        _say(f"trial {best.name} has the {superlative}, {best.best_value:.4f}; it is measured on test")
        compared = space.first is not None and trials[0].best_round > 0
        ends = {trial.name: trial.config for trial in (best, *trials[:compared])}
        tasks = {name: _task(base, finish_run).remote(run, claim) for name, run in ends.items()}
        results: dict[str, dict[str, Any]] = {name: ray.get(task) for name, task in tasks.items()}
    # Those two may have gone on to their ends.
    trials = [read_trial(one.name, one.settings, one.config) if one.name in results else one for one in trials]
    outcome = Outcome(trials, best_of(trials), trials[0] if compared else None, results)
    _write(base.run.dir, space, outcome)
    return outcome


def _run_of(base: TrainConfig, settings: Settings, name: str) -> TrainConfig:
    config = with_settings(base, settings)
    run = dataclasses.replace(
        config.run,
        dir=f"{base.run.dir}/trials/{name}",
        workers=1,
        min_workers=None,
        take_over=False,
        batch_size=config.run.global_batch_size,
    )
    return dataclasses.replace(config, run=run)


def _run_trials(config: SweepConfig, base: TrainConfig, runs: dict[str, TrainConfig], claim: RunClaim) -> None:
    for run in runs.values():
        fs, root = filesystem(run.run.dir)
        if fs.get_file_info(f"{root}/{FAILED}").is_file:
            fs.delete_file(f"{root}/{FAILED}")  # it is tried again
    scheduler = ASHAScheduler(
        time_attr=ROUND,
        max_t=base.run.max_rounds,
        grace_period=min(config.grace_rounds, base.run.max_rounds),
        reduction_factor=config.reduction_factor,
    )
    mode = "min" if Selection(base.run.select_by).lowest else "max"
    tuner = tune.Tuner(
        tune.with_resources(lambda given: run_trial(runs[given["trial"]], claim), worker_resources(base.run)),
        param_space={"trial": tune.grid_search(list(runs))},
        tune_config=tune.TuneConfig(metric=VALUE, mode=mode, scheduler=scheduler, reuse_actors=True),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=f"{base.run.dir}/ray",
            failure_config=tune.FailureConfig(max_failures=ATTEMPTS),
            callbacks=[_Lines(runs)],
            verbose=0,
        ),
    )
    lost = tuner.fit().errors
    if lost:
        raise UserError(
            f"the processes of {len(lost)} trials were lost {ATTEMPTS + 1} times "
            f"({str(lost[0]).strip().splitlines()[-1]}); "
            "the same command goes on with them once the cluster is well"
        )


class _Lines(tune.Callback):
    """Writes a line for each trial that has ended."""

    def __init__(self, runs: dict[str, TrainConfig]) -> None:
        self._runs, self._left = runs, len(runs)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name, last = trial.config["trial"], trial.last_result or {}
        self._left -= 1
        run = self._runs[name].run
        failed, metric = read_run_file(run.dir, FAILED), Selection(run.select_by).name
        news = f"{last[ROUND]} rounds, valid {metric} {last[VALUE]:.4f}" if VALUE in last else "no round finished"
        _say(f"trial {name}: {news if failed is None else failed}; {self._left} to go")


def _task(base: TrainConfig, function: Any) -> Any:
    resources = worker_resources(base.run)
    return ray.remote(num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0.0))(function)


def _write(run_dir: str, space: Space, outcome: Outcome) -> None:
    best = outcome.results[outcome.best.name]
    facts = {
        "space": space.to_dict(),
        "best": outcome.best.name,
        "select_by": outcome.best.selection.key,
        "verdict": verdict(outcome),
        "test": best["test"],
        "trivial": best["trivial"],
        "ranking": outcome.ranking,
        "trials": [
            {
                "name": trial.name,
                "settings": trial.settings,
                "valid_values": trial.values,
                "valid": trial.at_best,
                "best_round": trial.best_round,
                "ended": trial.ended,
                "failed": trial.failed,
                "config": config_to_dict(trial.config),
            }
            for trial in outcome.trials
        ],
    }
    write_run_file(run_dir, "sweep.json", to_json(facts))
    write_run_file(run_dir, "sweep.html", render_sweep(space, outcome))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
